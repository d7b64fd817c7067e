"""The write pipeline, without the platform's own rules."""
