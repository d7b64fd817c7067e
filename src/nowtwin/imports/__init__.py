"""Import sets: staging tables and transform maps."""
