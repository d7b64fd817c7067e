"""Runs scripts in a borrowed process and answers what they call, until the outermost script has ended."""

import sqlite3
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

import msgspec

from nowtwin.scripting import host_outbound, host_records, host_system
from nowtwin.scripting.host_records import Queries
from nowtwin.scripting.process import Stopped, Worker, Workers
from nowtwin.scripting.scope import Scope

Call = tuple[type[msgspec.Struct], Callable[[Scope, Any], object]]


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the script of a resource sees it. `parsed` holds the value of a body in JSON or XML; None where the
    body is not what its type says.
    """

    body: str
    parsed: dict[str, Any] | None
    headers: Mapping[str, str]
    query: tuple[tuple[str, str], ...]
    query_string: str
    path_params: Mapping[str, str]
    uri: str
    url: str


class Told(msgspec.Struct, frozen=True):
    message: str
    detail: str


class Answered(msgspec.Struct, frozen=True):
    """What the script of a resource answers: written text, JSON for `result`, or an error."""

    status: int
    headers: dict[str, str]
    type: str
    written: str | None
    result: str | None
    error: Told | None


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What a process needs to run one script (kernel.js, `execute`)."""

    key: str
    script: str = ""
    condition: str = ""
    expression: bool = False
    """The script is an expression, or statements of which the last value counts."""
    template: tuple[tuple[str, str, str], ...] = ()
    table: str = ""
    operation: str = ""
    when: str = ""
    values: Mapping[str, str] = {}
    previous: Mapping[str, str] | None = None
    wants_scratchpad: bool = False
    request: Called | None = None
    """The call of a scripted REST API that the script is to answer."""
    event: Mapping[str, str] | None = None
    """The row of sysevent that the script acts on."""


class ScriptError(msgspec.Struct, frozen=True):
    """`line` 0: unknown; `fatal`: the engine ran out of something."""

    message: str
    line: int
    fatal: bool


class Outcome(msgspec.Struct, frozen=True):
    """What a run came to. `ran` is False when its condition did not hold."""

    ran: bool
    changes: dict[str, str]
    aborted: bool
    workflow: bool
    auto_sys_fields: bool
    value: str | None = None
    query: host_records.Asked | None = None
    scratchpad: dict[str, Any] | None = None
    error: ScriptError | None = None
    answer: Answered | None = None


class _Asked(msgspec.Struct, frozen=True):
    call: str
    args: msgspec.Raw


class Revisions(msgspec.Struct, frozen=True):
    """What a process may have kept is stale when one of these moved."""

    revision: int
    includes_revision: int


class Session:
    """One outermost script with all that runs inside it. Use from one thread."""

    def __init__(self, scope: Scope, workers: Workers, calls: Mapping[str, Call]) -> None:
        self.scope = scope
        self._workers = workers
        self._worker: Worker | None = None
        self._calls = calls

    def close(self) -> None:
        if self._worker:
            self._workers.give_back(self._worker)
            self._worker = None

    def run(self, frame: Frame, revisions: Revisions) -> Outcome:
        """Raises Stopped when the script did not end by itself."""
        if self._worker is None or (self._worker.dead and len(self.scope.running) == 1):
            self.close()
            memory = self.scope.platform.switches.script_memory_bytes
            since = monotonic()
            self._worker = self._workers.borrow(memory)
            self.scope.waited(since)
        fields = msgspec.structs.asdict(frame) | msgspec.structs.asdict(revisions) | self._surroundings()
        content = self._worker.run(msgspec.json.encode(fields), self._answer, lambda: self.scope.ends)
        try:
            outcome = msgspec.json.decode(content, type=Outcome)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # a script bent the prelude out of shape
            self._worker.kill()
            raise Stopped(f"The script returned nonsense: {error}") from error
        if outcome.error and outcome.error.fatal:
            self._worker.kill()
        return outcome

    def _surroundings(self) -> dict[str, object]:
        user, clock = self.scope.user, self.scope.platform.clock
        who = {"sys_id": user.sys_id, "user_name": user.user_name, "name": user.name, "roles": sorted(user.roles)}
        return {"user": who, "now": clock.now().timestamp() * 1000, "rate": clock.rate}

    def _answer(self, content: bytes) -> bytes:
        """Serve one call of a script; what is wrong with it becomes an error that the script sees."""
        try:
            value = self._serve(msgspec.json.decode(content, type=_Asked))
        except (ValueError, OverflowError, sqlite3.Error) as error:  # msgspec's errors are ValueErrors
            return msgspec.json.encode({"error": str(error)})
        return msgspec.json.encode({"value": value})

    def _serve(self, asked: _Asked) -> object:
        if asked.call not in self._calls:
            raise ValueError(f"no such call: {asked.call}")
        kind, perform = self._calls[asked.call]
        arguments = msgspec.json.decode(asked.args, type=kind)
        with self.scope.platform.storage.lock:
            return perform(self.scope, arguments)


def _includes(scope: Scope, _: host_system.Nothing) -> list[list[str]]:
    return [api.rsplit(".", 1) for api in scope.includes]


def _include(scope: Scope, asked: host_system.Name) -> str:
    """The source of a script include."""
    return scope.includes.get(asked.name) or scope.includes.get(f"global.{asked.name}", "")


def calls_of(queries: Queries) -> Mapping[str, Call]:
    """What scripts may ask of the host, by name."""
    records, system = host_records, host_system
    return {
        "includes": (system.Nothing, _includes),
        "include": (system.Name, _include),
        "query": (records.Asked, queries.query),
        "get": (records.Get, queries.get),
        "aggregate": (records.AskedAggregate, queries.aggregate),
        "fetch": (records.Fetch, records.fetch),
        "encoded": (records.Asked, records.encoded),
        "insert": (records.Write, records.insert),
        "update": (records.Write, records.update),
        "delete": (records.Write, records.delete),
        "schema": (records.Table, records.schema),
        "display": (records.Shown, records.display),
        "from_display": (records.FromDisplay, records.from_display),
        "journal": (records.Journal, records.journal),
        "defaults": (records.Table, records.defaults),
        "allowed": (records.Allowed, records.allowed),
        "next_number": (records.Table, records.next_number),
        "url": (system.Nothing, system.url),
        "new_id": (system.Nothing, system.new_id),
        "zone": (system.Nothing, system.zone),
        "user_column": (system.Name, system.user_column),
        "property": (system.Name, system.property_value),
        "set_property": (system.Property, system.set_property),
        "log": (system.Line, system.log),
        "event": (system.Event, system.event),
        "execute_now": (system.Name, system.execute_now),
        "xml_to_json": (system.Text, system.xml_to_json),
        "date_helper": (system.Helper, system.date_helper),
        "show_date_time": (system.Value, system.show_date_time),
        "show_date": (system.Value, system.show_date),
        "show_duration": (system.Value, system.show_duration),
        "local_date": (system.Nothing, system.local_date),
        "zone_offset": (system.Value, system.zone_offset),
        "read_date_time": (system.Text, system.read_date_time),
        "encode_base64": (system.Text, system.encode_base64),
        "decode_base64": (system.Text, system.decode_base64),
        "digest": (system.Digest, system.digest),
        "mac": (system.Mac, system.mac),
        "random_int": (system.Bound, system.random_int),
        "random_text": (system.Length, system.random_text),
        "rest_message": (host_outbound.Saved, host_outbound.rest_message),
        "outbound": (host_outbound.Sending, host_outbound.outbound),
        "outbound_answer": (host_outbound.Waiting, host_outbound.outbound_answer),
    }
