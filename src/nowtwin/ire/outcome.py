"""What became of each item and relation of a payload; filled in by the engine, shaped by `answers`."""

from dataclasses import dataclass, field

from nowtwin.ire.identify import UNKNOWN, Attempt
from nowtwin.ire.payload import Item


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error or a warning: its code and what it says."""

    code: str
    message: str


@dataclass(slots=True)
class SubOutcome:
    class_name: str
    main_index: int
    sub_index: int
    operation: str = ""
    sys_id: str | None = None
    errors: list[Trouble] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """Of one top-level item."""

    item: Item
    indices: list[int]
    source: str = ""
    operation: str = "INSERT"
    sys_id: str = UNKNOWN
    entry_id: str = UNKNOWN
    attempts: tuple[Attempt, ...] = ()
    subs: list[SubOutcome] = field(default_factory=list)
    errors: list[Trouble] = field(default_factory=list)
    warnings: list[Trouble] = field(default_factory=list)
    info: list[dict[str, str]] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    """Attributes that reconciliation rules kept the source from writing."""

    @property
    def index(self) -> int:
        return self.indices[0]

    @property
    def failed(self) -> bool:
        return bool(self.errors)

    def fail(self, code: str, message: str) -> None:
        self.errors.append(Trouble(code, message))


@dataclass(slots=True)
class RelationOutcome:
    index: int
    operation: str = "INSERT"
    sys_id: str | None = None
    errors: list[Trouble] = field(default_factory=list)


@dataclass(slots=True)
class Options:
    """How a payload is run; the second half exists on the enhanced endpoints."""

    enhanced: bool = False
    commit: bool = True
    partial_payloads: bool = True
    partial_commits: bool = True
    deduplicate_payloads: bool = True
    generate_summary: bool = False


@dataclass(slots=True)
class Result:
    options: Options
    outcomes: list[Outcome]
    relations: list[RelationOutcome]
