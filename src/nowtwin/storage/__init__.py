"""Rows in SQLite, and the folder they are in."""
