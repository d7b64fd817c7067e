"""Sys_ids that are the same on every load.

A row that a seed names but does not identify ("Group 56", "Service Desk") gets a sys_id computed from its table and
name, so two loads of one seed, on two machines, make the same instance, and two seeds that name the same thing meet
in the same row.
"""

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=262_144)
def sys_id_of(table: str, name: str) -> str:
    """32 lower-case hex digits, as the platform's GUIDs."""
    return blake2b(f"{table}\n{name}".encode(), digest_size=16).hexdigest()
