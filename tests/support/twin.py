"""Fixture: a ServiceNow instance to talk to over HTTP, with the shipped schema and its administrator, otherwise empty.

One instance serves all tests of a process: to start one and to read its dictionary takes longer than most tests. Before
each test it goes back to how it began. One that is still at a request when a test ends is not used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from nowtwin.behaviour.faults import Faults
from nowtwin.instance import Instance
from nowtwin.testing import RunningServer, calm, serve


@dataclass(slots=True)
class Twins:
    """The instance of this process; another takes its place when it cannot be put back."""

    _standing: tuple[RunningServer, str] | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    def fresh(self) -> RunningServer:
        """The instance as it began, or one that begins now."""
        if self._standing is None:
            return self._begin()
        twin, start = self._standing
        twin.instance.snapshots.restore(start)
        put_back(twin.instance)
        return twin

    def _begin(self) -> RunningServer:
        instance = self._open.enter_context(Instance())
        twin = self._open.enter_context(serve(instance))
        instance.prepare("sys_dictionary")
        self._standing = (twin, instance.snapshots.take())
        return twin

    def done(self, twin: RunningServer) -> None:
        """A test is over."""
        if any(call.finished is None for call in twin.instance.calls.entries):
            self.close()

    def close(self) -> None:
        self._standing = None
        self._open.close()


def put_back(instance: Instance) -> None:
    """What beside its rows a test leaves in an instance."""
    calm(instance)
    instance.set_admin_password("admin")  # a snapshot brings the account back, and not what a reset makes it anew with
    instance.faults = Faults(instance.seed)
    instance.writes.clear()
    instance.written = 0


@pytest.fixture(scope="session")
def twins() -> Iterator[Twins]:
    made = Twins()
    yield made
    made.close()


@pytest.fixture
def twin(twins: Twins) -> Iterator[RunningServer]:
    """`twin.url` is signed in to as admin / admin; `twin.instance` is the emulator itself, to load and to inspect."""
    made = twins.fresh()
    yield made
    twins.done(made)
