"""Requests straight into the twin's ASGI application: everything but the socket, so that thousands fit into a test."""

import asyncio
import logging
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from nowtwin.instance import Instance
from nowtwin.serving.app import App

CLIENT = ("127.0.0.1", 50_000)
Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """A request as bytes will carry it; texts may hold anything, lone surrogates included."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Inside:
    """One application and the event loop that runs it. A connection that a fault would cut only counts in `aborted`."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.aborted = 0
        self.shipped: set[tuple[str, str]] = set()
        """Rows that a test wants to stay, by table and sys_id."""
        self._app = App(instance, self)
        self._loop = asyncio.new_event_loop()

    def abort(self, client: tuple[str, int]) -> None:
        assert client == CLIENT
        self.aborted += 1

    def certificate(self, client: tuple[str, int]) -> bytes:
        assert client == CLIENT
        return b""

    def close(self) -> None:
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def ask(self, wish: Wish) -> Got:
        return self._loop.run_until_complete(self._ask(wish))

    async def _ask(self, wish: Wish) -> Got:
        coming: list[Message] = [{"type": "http.request", "body": wish.body}, {"type": "http.disconnect"}]
        sent: list[Message] = []

        async def receive() -> Message:
            return coming.pop(0) if len(coming) > 1 else coming[0]

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(_scope(wish), receive, send)
        start: Message = sent[0] if sent else {"status": 0, "headers": []}
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in start["headers"]}
        return Got(start["status"], headers, b"".join(part.get("body", b"") for part in sent[1:]))


def _scope(wish: Wish) -> Message:
    raw = quote(wish.path, safe="/.~-_", errors="surrogatepass")
    return {
        "type": "http",
        "method": wish.method,
        "path": wish.path,
        "raw_path": raw.encode(),
        "query_string": urlencode(wish.query, errors="surrogatepass").encode(),
        "headers": [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in wish.headers],
        "client": CLIENT,
        "scheme": "http",
    }


class _Kept(logging.Handler):
    def __init__(self, into: list[str]) -> None:
        super().__init__()
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR or record.exc_info:
            self._into.append(self.format(record))


@contextmanager
def error_log() -> Iterator[list[str]]:
    """What anyone logs as an error, or with a traceback, meanwhile."""
    kept: list[str] = []
    handler = _Kept(kept)
    logging.getLogger().addHandler(handler)
    try:
        yield kept
    finally:
        logging.getLogger().removeHandler(handler)
