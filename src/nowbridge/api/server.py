"""Serves an application inside a process that has other things to do: no signal handlers, no log of its own, and a port
that is taken is an error with words. It listens on loopback unless an administrator decides otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from nowbridge.model.errors import Stop

LOOPBACK = "127.0.0.1"


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the command that runs this server."""
        yield


def listen(port: int, host: str = LOOPBACK) -> socket.socket:
    """A socket on an IP address; port 0 takes a free one. Raises Stop `health.port`."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise Stop(
            "health.port",
            asked=f"answer health checks on {host} port {port}",
            answered=error.strerror or str(error),
            hint="Choose another port with --health-port or NOWBRIDGE_HEALTH_PORT.",
        ) from error


async def serve(app: Starlette, listener: socket.socket, stop: asyncio.Event) -> None:
    """Answer until `stop` is set."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=2)
    server = _QuietServer(config)

    async def end() -> None:
        await stop.wait()
        server.should_exit = True

    ending = asyncio.create_task(end())
    try:
        await server.serve(sockets=[listener])
    finally:
        ending.cancel()
