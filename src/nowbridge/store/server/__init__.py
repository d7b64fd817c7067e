"""The embedded PostgreSQL: where it lives, how it is run, what is made on it first."""
