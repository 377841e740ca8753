"""DISFA: 27 people who watch a video, filmed by two cameras, with intensities of twelve action units."""
