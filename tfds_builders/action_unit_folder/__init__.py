"""Any images of one's own with one CSV of action units and subjects."""
