"""Measures how fast the app is, compared with two floors: `make bench`."""
