"""Fixture: a ServiceNow instance to talk to over HTTP, with the shipped schema and its administrator, otherwise empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nowtwin.instance import Instance
from nowtwin.testing import RunningServer, serve


@pytest.fixture
def twin() -> Iterator[RunningServer]:
    """`twin.url` is signed in to as admin / admin; `twin.instance` is the emulator itself, to load and to inspect."""
    with Instance() as instance, serve(instance) as server:
        yield server
