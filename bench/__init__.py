"""How fast the app is, beside two floors: `make bench`."""
