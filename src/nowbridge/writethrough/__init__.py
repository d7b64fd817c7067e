"""SQL edits become a Plan at COMMIT: what the triggers noted is folded, planned, delivered, and answered."""
