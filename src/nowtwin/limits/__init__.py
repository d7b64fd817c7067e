"""Semaphores, queues, quotas, rate limits, and the answers that they give; the journal of calls."""
