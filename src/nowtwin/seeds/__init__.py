"""Seeds: what a twin can start with, and the histories it can live through.

Shipped demo records, any seed file, a recorded event log, or generated incidents. Everything behind these names is a
pure function from parsed files to `(table, rows)`; only `files` touches a path or an instance.
"""

from nowtwin.seeds.estate import generate_estate
from nowtwin.seeds.files import SeedFileError, find_shared_data, load_demo, load_estate, load_event_log, load_file
from nowtwin.seeds.generator import generate_history
from nowtwin.seeds.generator_rows import generate_incidents
from nowtwin.seeds.history import Change, Operation
from nowtwin.seeds.requests import generate_requests

__all__ = [
    "Change",
    "Operation",
    "SeedFileError",
    "find_shared_data",
    "generate_estate",
    "generate_history",
    "generate_incidents",
    "generate_requests",
    "load_demo",
    "load_estate",
    "load_event_log",
    "load_file",
]
