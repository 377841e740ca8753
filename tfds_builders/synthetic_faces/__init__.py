"""SyntheticFaces: 24,000 drawn faces with FACS action units, expressions, people and landmarks."""
