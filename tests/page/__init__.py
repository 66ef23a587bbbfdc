"""The sandbox page works in a real browser."""
