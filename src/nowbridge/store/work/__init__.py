"""Who does what, and when: leases, duties, hints, the shared budget, workers, pauses. Every change of hands is fenced."""
