"""What an account may do to a record; signing in."""
