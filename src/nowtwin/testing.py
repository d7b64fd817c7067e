"""For test suites: a running nowtwin as a context manager.

with Instance() as instance, serve(instance) as server:
    ... talk to server.url as admin / admin ...
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nowtwin.behaviour.faults import Latency
from nowtwin.behaviour.nodes import ONLY
from nowtwin.clock import wall_seconds
from nowtwin.instance import Instance
from nowtwin.serving.server import Server


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a served instance answers."""

    url: str
    """Over TLS when that was asked for."""
    instance: Instance
    certificate: Path | None = None
    """The PEM file to trust for TLS."""


def calm(instance: Instance) -> None:
    """End what a test may have stirred up beside the data: faults, latency, several nodes, counts towards rate
    limits, a moved or frozen clock, the journal of calls.
    """
    instance.faults.arm([])
    instance.faults.latency = Latency()
    instance.nodes.set([ONLY])
    instance.calls.clear()
    instance.rate_limits.forget()
    instance.clock.set(datetime.fromtimestamp(wall_seconds(), UTC))
    instance.clock.run(1.0)


@contextmanager
def serve(instance: Instance, *, tls: bool = False, client_authorities: Path | None = None) -> Iterator[RunningServer]:
    """Serve the instance on a free loopback port until the block ends; with `client_authorities` (PEM) only to TLS clients
    whose certificate one of them signed.
    """
    tls = tls or client_authorities is not None
    server = Server(instance, tls_port=0 if tls else None, client_authorities=client_authorities)
    instance.url = server.tls_url or server.url
    server.start()
    try:
        yield RunningServer(instance.url, instance, server.certificate)
    finally:
        server.stop()
