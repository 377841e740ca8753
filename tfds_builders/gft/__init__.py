"""GFT: 96 people in groups of three who get to know each other, with the occurrence of action units."""
