"""What the certified Ansible collection `servicenow.itsm` sends, call by call, and what it needs of the answers.

Written after the behaviour of its client, table and attachment parts (servicenow-api.md, key ITSM); none of its code.
"""

import hashlib
import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from tests.nowtwin.talk import Record, Reply, Talk

pytestmark = pytest.mark.behaviour(
    "1, 6.2, 7.1", evidence="measured by others: ITSM reads and writes instances this way"
)

BETH = "b" * 32
FLAT = {"sysparm_exclude_reference_link": "true"}
"""The collection flattens references in every call to a table."""
SUBJECTS = ["printer on fire", "mail is slow", "no network"]
LONGEST_URL = 2048
"""Beyond it the collection asks for a short URL first."""


@pytest.fixture
def collection(talk: Talk) -> Talk:
    talk.instance.load("sys_user", [{"sys_id": BETH, "user_name": "beth", "name": "Beth Anglin"}])
    return talk


def _send(talk: Talk, method: str, path: str, query: dict[str, Any], body: object = None) -> Reply:
    """Compact JSON under a `Content-type` spelled as it does."""
    content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
    kind = {} if body is None else {"Content-type": "application/json"}
    return talk.call(method, f"/api/now/{path}?{urlencode(query)}", content, {"Accept": "application/json", **kind})


def _listed(talk: Talk, table: str, size: int, **query: str) -> tuple[list[Record], int]:
    """All records in pages until the offset passes the total, and how many pages that took."""
    found: list[Record] = []
    offset, total, pages = 0, 1, 0
    while offset < total:
        window = {"sysparm_limit": size, "sysparm_offset": offset}
        reply = _send(talk, "GET", f"table/{table}", {**query, **FLAT, **window})
        assert reply.status == 200
        found += reply.result
        total = int(reply.headers["x-total-count"])
        offset, pages = offset + size, pages + 1
    return found, pages


def test_pages_end_by_the_total_and_references_are_flat(collection: Talk) -> None:
    rows = ({"sys_id": f"{n:032x}", "active": str(n % 5 != 0).lower(), "caller_id": BETH} for n in range(3_100))
    collection.instance.load("incident", rows)
    found, pages = _listed(collection, "incident", 1000, active="true", sysparm_fields="sys_id,caller_id,problem_id")
    assert (len(found), pages) == (2_480, 3)
    assert len({record["sys_id"] for record in found}) == 2_480
    assert {record["caller_id"] for record in found} == {BETH}
    assert {record["problem_id"] for record in found} == {""}


def test_a_record_is_found_by_the_values_of_its_columns(collection: Talk) -> None:
    collection.instance.load("incident", [{"short_description": s, "caller_id": BETH} for s in SUBJECTS])
    assert [user["sys_id"] for user in _listed(collection, "sys_user", 1000, user_name="beth")[0]] == [BETH]
    assert _listed(collection, "sys_user", 1000, user_name="nobody") == ([], 1)
    both = "short_descriptionSTARTSWITHprinter^ORshort_descriptionLIKEslow^caller_id=" + BETH
    found, _ = _listed(collection, "incident", 1000, sysparm_query=both)
    assert sorted(record["short_description"] for record in found) == sorted(SUBJECTS[:2])


def test_a_query_that_is_long_goes_through_a_short_url(collection: Talk) -> None:
    collection.instance.load("incident", [{"sys_id": f"{n:032x}", "short_description": "x"} for n in range(90)])
    query = "sys_idIN" + ",".join(f"{n:032x}" for n in range(80))
    wanted = "/api/now/table/incident?" + urlencode({"sysparm_query": query, **FLAT, "sysparm_limit": 1000})
    assert len(wanted) > LONGEST_URL
    made = _send(collection, "POST", "tinyurl", {}, {"url": wanted})
    assert made.status in {200, 201}
    token = made.result.partition("sysparm_tiny=")[2]
    reply = _send(collection, "GET", "table/incident", {"sysparm_tiny": token})
    assert (len(reply.result), reply.headers["x-total-count"]) == (80, "80")


def test_a_record_is_made_changed_and_deleted_with_the_codes_it_waits_for(collection: Talk) -> None:
    body = {"short_description": "made", "caller_id": BETH, "impact": "1", "urgency": "1"}
    made = _send(collection, "POST", "table/incident", FLAT, body)
    assert (made.status, made.result["caller_id"], made.result["priority"]) == (201, BETH, "1")
    place = f"table/incident/{made.result['sys_id']}"
    changed = _send(collection, "PATCH", place, FLAT, {"short_description": "changed"})
    assert (changed.status, changed.result["short_description"], changed.result["caller_id"]) == (200, "changed", BETH)
    gone = _send(collection, "DELETE", place, {})
    assert (gone.status, gone.body) == (204, b"")
    assert _send(collection, "GET", place, FLAT).status == 404


def test_closing_without_reasons_names_the_labels_of_what_is_missing(collection: Talk) -> None:
    sys_id = collection.instance.insert("incident", {"short_description": "x"}).sys_id
    refused = _send(collection, "PATCH", f"table/incident/{sys_id}", FLAT, {"state": "7"})
    missing = "Data Policy Exception: The following fields are mandatory: Resolution code, Resolution notes"
    assert refused.error == (403, "Operation Failed", missing)


def test_a_file_is_sent_again_only_when_its_hash_differs(collection: Talk) -> None:
    sys_id = collection.instance.insert("incident", {"short_description": "x"}).sys_id
    place = {"table_name": "incident", "table_sys_id": sys_id}

    def upload(content: bytes) -> Record:
        named = {"file_name": "note.txt", "content_type": "text/plain", "hash": hashlib.sha256(content).hexdigest()}
        target = f"/api/now/attachment/file?{urlencode({**place, **named})}"
        reply = collection.call("POST", target, content, {"Accept": "application/json", "Content-type": "text/plain"})
        assert reply.status == 201
        record: Record = reply.result
        return record

    first = upload(b"one")
    assert first["hash"] == hashlib.sha256(b"one").hexdigest()
    listed = _send(collection, "GET", "attachment", {**place, "sysparm_limit": 10_000, "sysparm_offset": 0})
    assert [(entry["file_name"], entry["hash"]) for entry in listed.result] == [("note.txt", first["hash"])]
    assert listed.headers["x-total-count"] == "1"
    assert _send(collection, "DELETE", f"attachment/{first['sys_id']}", {}).status == 204
    second = upload(b"two")
    assert second["hash"] != first["hash"]
    assert _send(collection, "GET", f"attachment/{second['sys_id']}/file", {}).body == b"two"


def test_a_token_of_the_password_grant_signs_in_and_a_wrong_password_is_401(collection: Talk) -> None:
    def asked(password: str) -> tuple[int, Any]:
        secrets = {"client_id": OAUTH_CLIENT, "client_secret": OAUTH_SECRET}
        form = {"grant_type": "password", "username": "admin", "password": password, **secrets}
        place = urlsplit(collection.url)
        connection = HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
        kind = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/oauth_token.do", urlencode(form), kind)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()
        return answer.status, said

    status, granted = asked("admin")
    bearer = Talk(collection.url, collection.instance, {"Authorization": f"Bearer {granted['access_token']}"})
    assert (status, _listed(bearer, "sys_user", 1000, user_name="beth")[0][0]["sys_id"]) == (200, BETH)
    assert asked("wrong")[0] == 401
    assert _send(collection.as_user("admin", "wrong"), "GET", "table/incident", FLAT).status == 401
