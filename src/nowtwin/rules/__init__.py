"""The platform's own rules: consequences, assets, policies, state models."""
