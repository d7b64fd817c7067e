"""Fixture: the twin with accounts to sign in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.site import Site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nowtwin.testing import RunningServer


@pytest.fixture
async def site(twin: RunningServer) -> AsyncIterator[Site]:
    made = Site(twin)
    yield made
    for client in made.clients:
        await client.close()
