"""Connections to instances: addresses, sealed credentials, consents, what we put into each."""
