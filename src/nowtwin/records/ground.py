"""What the platform's built-in rules stand on: the parts of an instance that they use, as an interface, so that an
instance can own rules which need an instance.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol

from nowtwin.accounts.users import User
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import Clock
from nowtwin.query.dates import Moment
from nowtwin.reading.pages import Reader
from nowtwin.records.pipeline import Records
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage


class Ground(Protocol):
    """`nowtwin.instance.Instance` is one; see there."""

    clock: Clock
    storage: Storage
    switches: Switches
    dictionary: Dictionary
    reader: Reader
    records: Records

    def prepare(self, table: str) -> None: ...

    def load(self, table: str, rows: Iterable[Mapping[str, str]]) -> int: ...

    def read(self, table: str, sys_id: str) -> dict[str, str] | None: ...

    def property(self, name: str) -> str: ...

    def acting(self, user_name: str) -> User: ...

    def moment(self, user: User) -> Moment: ...
