"""RAF-DB, basic set: 15,339 faces from the web with one of seven expressions."""
