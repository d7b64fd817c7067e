"""A server on loopback that scripts call, and what it was sent."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

from tests.nowtwin.talk import Reply, Talk


@dataclass(frozen=True, slots=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class Hook:
    """A server that notes what it is sent; a path names the status it answers, `/back` calls the twin first."""

    url: str = ""
    seen: "Queue[Seen]" = field(default_factory=Queue)
    twin: Talk | None = None
    called_back: "Queue[Reply]" = field(default_factory=Queue)
    silence: threading.Event = field(default_factory=threading.Event)


@contextmanager
def listening(talk: Talk) -> Iterator[Hook]:
    """Serves on loopback until the block ends."""
    noted = Hook(twin=talk)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            noted.seen.put(Seen(self.command, self.path, headers, body))
            if self.path == "/silent":
                noted.silence.wait(20)
            if self.path == "/back" and noted.twin:
                noted.called_back.put(noted.twin.get("table/incident"))
            status = int(self.path.strip("/")) if self.path.strip("/").isdecimal() else 200
            content = json.dumps({"got": body}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Hook", "yes")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - names of the library

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - signature of the library
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    noted.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield noted
    noted.silence.set()
    server.shutdown()
    thread.join()
    server.server_close()
