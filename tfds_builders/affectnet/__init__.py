"""AffectNet: 420,299 faces from the web with one of eleven expression codes, valence and arousal."""
