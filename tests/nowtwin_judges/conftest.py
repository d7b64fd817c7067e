"""Fixture: a fresh twin over HTTPS, as the clients by others know an instance."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nowtwin.instance import Instance
from nowtwin.testing import serve


@dataclass(frozen=True, slots=True)
class Site:
    """`url` is signed in to as admin / admin and trusted through `certificate`; `instance` is the emulator itself."""

    url: str
    instance: Instance
    certificate: Path

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("https://")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with Instance() as instance, serve(instance, tls=True) as server:
        assert server.certificate is not None
        # What requests trusts, before anything that a client is told in its own words.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
        yield Site(server.url, instance, server.certificate)
