"""What happened to records, in order: the form that every source of history yields and the player plays."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Operation(Enum):
    INSERT = "insert"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Change:
    """One save of one record.

    `values` are stored values: all of them for an insert, the changed ones for an update. `user` is the user_name of
    the one who saved, `at` the historic time (UTC), which is data of the history and not of the twin that plays it.
    """

    operation: Operation
    table: str
    sys_id: str
    values: Mapping[str, str]
    user: str
    at: datetime
