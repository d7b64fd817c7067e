"""What scripts need of the instance they run on."""

from collections.abc import Mapping
from random import Random
from typing import Protocol

from nowtwin.access.acl import Scripted
from nowtwin.access.hiding import Access
from nowtwin.accounts.users import User
from nowtwin.accounts.vault import Vault
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import Clock
from nowtwin.query.dates import Moment
from nowtwin.reading.pages import Reader
from nowtwin.records.pipeline import Records
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage


class AccessRuling(Protocol):
    def passes(self, script: Scripted, table: str, values: Mapping[str, str], user: User) -> bool: ...


class Scheduling(Protocol):
    def execute_now(self, sys_id: str) -> bool: ...


class Eventful(Protocol):
    def raised(self, event: Mapping[str, str]) -> None: ...


class Hosted(Protocol):
    """The part of the scripts that scripts themselves need: access rules for GlideRecordSecure, jobs, events."""

    @property
    def access(self) -> AccessRuling: ...
    @property
    def schedules(self) -> Scheduling: ...
    @property
    def events(self) -> Eventful: ...


class Platform(Protocol):
    dictionary: Dictionary
    storage: Storage
    reader: Reader
    records: Records
    clock: Clock
    switches: Switches
    access: Access
    random: Random
    vault: Vault
    url: str

    @property
    def scripts(self) -> Hosted: ...
    def prepare(self, table: str) -> None: ...
    def property(self, name: str) -> str: ...
    def moment(self, user: User) -> Moment: ...
    def view_limit(self, table: str) -> int | None: ...
    def user(self, user_name: str) -> User | None: ...
    def acting(self, user_name: str) -> User: ...
