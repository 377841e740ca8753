"""BP4D-Spontaneous: 41 people in eight tasks that call up emotions, with the occurrence of action units."""
