"""Requests, answers and bodies. Pure."""
