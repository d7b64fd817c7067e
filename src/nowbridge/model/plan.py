"""The Plan: what is going to be written to one instance, before any of it is. Frozen and hashable: the same object is
shown, approved, stored, executed and undone.

Values are texts as on the wire ("" empties a column); names are ServiceNow's. `base` are the values that the plan was
made on: what stands in ServiceNow must still be that when the plan is executed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import msgspec

Field = tuple[str, str]


class Operation(StrEnum):
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Step(msgspec.Struct, frozen=True):
    """One record's change. A create carries the sys_id that we chose. `journals` are entries to be added, in order; they
    can never be taken back, so they are sent apart from the fields.
    """

    operation: Operation
    table: str
    sys_id: str
    fields: tuple[Field, ...] = ()
    base: tuple[Field, ...] = ()
    journals: tuple[Field, ...] = ()

    @property
    def written(self) -> dict[str, str]:
        return dict(self.fields)

    @property
    def before(self) -> dict[str, str]:
        return dict(self.base)


class Plan(msgspec.Struct, frozen=True):
    steps: tuple[Step, ...]

    @property
    def digest(self) -> str:
        """Names the plan by its content: two plans that would do the same have the same."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a step cannot be carried out. `sqlstate` is what a SQL client is told; `detail` are ServiceNow's own words."""

    sqlstate: str
    message: str
    detail: str = ""
    hint: str = ""
