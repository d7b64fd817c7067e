"""A server that answers with the very bytes a test wrote, on a raw socket: cut, slow, odd, or right."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@dataclass(frozen=True)
class Heard:
    """One request as it came over the wire; `number` counts from 1."""

    number: int
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    port: int = 0
    scheme: str = "http"
    heard: list[Heard] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"


def answer(status: int = 200, body: bytes = b'{"result":[]}', *headers: str) -> bytes:
    """A right answer; `headers` are whole lines, and a Content-Length among them replaces the true one."""
    lines = [f"HTTP/1.1 {status} Some Reason", "Date: Thu, 01 Jan 2026 12:00:00 GMT", "Connection: close", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("Content-Type: application/json;charset=UTF-8")
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def scripted(
    script: Callable[[Heard], Awaitable[bytes | None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedServer]:
    """Serve on a free port. A script that returns None closes the connection; otherwise it closes after each answer."""
    server = ScriptedServer(scheme="https" if tls else "http")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.at_once += 1
        server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            heard = await _hear(reader, server)
            server.heard.append(heard)
            reply = await script(heard)
            if reply is not None:
                writer.write(reply)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client gave up first, which some tests want
        finally:
            server.at_once -= 1
            writer.close()

    listening = await asyncio.start_server(serve, "localhost", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


async def _hear(reader: asyncio.StreamReader, server: ScriptedServer) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(len(server.heard) + 1, head[0], headers, body)
