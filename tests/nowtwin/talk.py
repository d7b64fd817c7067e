"""A small HTTP client for the stories: one call, one reply, nothing hidden."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from nowtwin.instance import Instance

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str]
    cookies: tuple[str, ...]

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever JSON was sent
        return json.loads(self.body)

    @property
    def result(self) -> Any:  # noqa: ANN401 - whatever JSON was sent
        return self.json["result"]

    @property
    def error(self) -> tuple[int, str, str | None]:
        error = self.json["error"]
        assert self.json["status"] == "failure"
        return self.status, error["message"], error["detail"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Talk:
    """Speaks to one twin as one user."""

    url: str
    instance: Instance
    headers: Mapping[str, str] = field(default_factory=lambda: {"Authorization": basic("admin", "admin")})

    def as_user(self, user: str, password: str) -> "Talk":
        return Talk(self.url, self.instance, {"Authorization": basic(user, password)})

    def call(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        place = urlsplit(self.url)
        connection = HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
        try:
            connection.request(method, quote(target, safe="/?&=%+,@-_.~:"), body, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
            lowered = {name.lower(): value for name, value in answer.getheaders()}
            cookies = tuple(value for name, value in answer.getheaders() if name.lower() == "set-cookie")
            return Reply(answer.status, content, lowered, cookies)
        finally:
            connection.close()

    def get(self, path: str, **params: str | int) -> Reply:
        return self.call("GET", f"/api/now/{path}" + (f"?{urlencode(params)}" if params else ""))

    def rows(self, table: str, query: str = "", **params: str | int) -> list[Record]:
        reply = self.get(f"table/{table}", sysparm_query=query, **params)
        assert reply.status == 200, reply.body
        found: list[Record] = reply.result
        return found

    def names(self, table: str, query: str, column: str = "short_description") -> list[str]:
        """One column of the rows that a query finds."""
        return [row[column] for row in self.rows(table, query, sysparm_fields=column)]

    def send(self, method: str, path: str, body: object, **params: str) -> Reply:
        target = f"/api/now/{path}" + (f"?{urlencode(params)}" if params else "")
        return self.call(method, target, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def post(self, table: str, body: object, **params: str) -> Reply:
        return self.send("POST", f"table/{table}", body, **params)

    def patch(self, table: str, sys_id: str, body: object, **params: str) -> Reply:
        return self.send("PATCH", f"table/{table}/{sys_id}", body, **params)

    def delete(self, table: str, sys_id: str) -> Reply:
        return self.call("DELETE", f"/api/now/table/{table}/{sys_id}")

    def control(self, method: str, name: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON was sent
        content = None if body is None else json.dumps(body).encode()
        reply = self.call(method, f"/_nowtwin/{name}", content)
        assert reply.status == 200, reply.body
        return reply.json
