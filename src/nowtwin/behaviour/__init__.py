"""What may be set about the twin: switches, faults, nodes."""
