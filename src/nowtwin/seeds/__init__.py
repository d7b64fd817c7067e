"""Seeds: what a twin can start with."""
