"""A source whose answers were computed before: serves a recording over HTTP from a process of its own.

It knows just enough of the Table API for the pages of the recorded table: `sys_id>x`, `sys_id<=y`, `ORDERBYsys_id`,
limit, offset and count. Everything else must have been recorded word for word. No compression, for anybody: that would
be work of the client that differs between HTTP libraries.

    python -m benchmarks.static_source RECORDING [TIMES]        prints its URL when it is ready

With TIMES every recorded row stands for so many (256 at most), which differ in the last two digits of their ids.
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from email.utils import format_datetime
from itertools import accumulate
from pathlib import Path
from typing import overload
from urllib.parse import parse_qsl

from benchmarks import recording
from benchmarks.recording import Recorded, Recording
from nowbridge import wiring

HEADS_END = b"\r\n\r\n"


class Ids(Sequence[str]):
    """The sys_ids in order, of which each recorded one stands for `times`."""

    def __init__(self, recorded: Sequence[str], times: int) -> None:
        self._recorded = recorded
        self._times = times

    def __len__(self) -> int:
        return len(self._recorded) * self._times

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> list[str]: ...

    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        row, copy = divmod(at, self._times)
        return self._recorded[row] if self._times == 1 else f"{self._recorded[row][:-2]}{copy:02x}"


class Source:
    """Answers by request target. The rows stand in one piece of memory, so that a page is a slice of it."""

    def __init__(self, recorded: Recording, times: int = 1) -> None:
        self._recorded = recorded
        self._times = times
        self._ids = Ids(recorded.ids, times)
        self._path = f"/api/now/table/{recorded.table}"
        self._fields = ",".join(recorded.fields)
        self._rows = memoryview(b",".join(recorded.rows))
        self._starts = [0, *accumulate(len(row) + 1 for row in recorded.rows)]

    def answer(self, target: str) -> tuple[int, list[memoryview | bytes], str]:
        """Status, parts of the body, and X-Total-Count ("" for none)."""
        path, _, query = target.partition("?")
        known: Recorded | None = self._recorded.answers.get(target)
        if known is not None:
            total = str(int(known.total) * self._times) if known.total and path == self._path else known.total
            return 200, [known.body], total
        params = dict(parse_qsl(query, keep_blank_values=True))
        if path != self._path or set(params.get("sysparm_fields", "").split(",")) != set(self._recorded.fields):
            return 404, [b'{"error":{"message":"not recorded","detail":null},"status":"failure"}'], ""
        return self._page(params)

    def _page(self, params: Mapping[str, str]) -> tuple[int, list[memoryview | bytes], str]:
        low, high = 0, len(self._ids)
        for term in filter(None, params.get("sysparm_query", "").split("^")):
            if term.startswith("sys_id>"):
                low = bisect_right(self._ids, term.removeprefix("sys_id>"))
            elif term.startswith("sys_id<="):
                high = bisect_right(self._ids, term.removeprefix("sys_id<="))
            elif term != "ORDERBYsys_id":
                return 400, [b'{"error":{"message":"not recorded","detail":null},"status":"failure"}'], ""
        first = min(high, low + int(params.get("sysparm_offset", "0")))
        last = min(high, first + int(params.get("sysparm_limit", "10000")))
        total = "" if params.get("sysparm_no_count") == "true" else str(max(0, high - low))
        return 200, [b'{"result":[', self._between(first, last), b"]}"], total

    def _between(self, first: int, last: int) -> memoryview | bytes:
        if self._times == 1:
            return self._rows[self._starts[first] : max(self._starts[first], self._starts[last] - 1)]
        return b",".join(
            self._recorded.rows[at // self._times].replace(
                self._recorded.ids[at // self._times].encode(), self._ids[at].encode(), 1
            )
            for at in range(first, last)
        )


class Connection(asyncio.Protocol):
    """One kept-alive connection; requests are answered in order."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._received = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while HEADS_END in self._received:
            head, _, self._received = self._received.partition(HEADS_END)
            self._answer(head.split(b" ", 2)[1].decode())

    def _answer(self, target: str) -> None:
        status, body, total = self._source.answer(target)
        lines = [
            f"HTTP/1.1 {status} X",
            "Content-Type: application/json;charset=UTF-8",
            f"Content-Length: {sum(map(len, body))}",
            f"Date: {format_datetime(wiring.now(), usegmt=True)}",
            *([f"X-Total-Count: {total}"] if total else []),
        ]
        assert self._transport is not None
        self._transport.write("\r\n".join(lines).encode() + HEADS_END)
        for part in body:
            self._transport.write(part)


async def serve(file: Path, times: int = 1) -> None:
    source = Source(recording.read(file), times)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(source), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), *map(int, sys.argv[2:])))
