"""The Table API through the twin: whole reads, honest counts, single writes, and the faults a real instance shows."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from nowbridge.model.errors import NowbridgeError, Park, Retry, Stop, Unsettled
from nowbridge.servicenow import tables
from nowbridge.servicenow.auth import Basic
from nowbridge.servicenow.pages import IdSweep, PageRequest
from nowbridge.servicenow.wire import PageDecoder
from nowtwin.access.hiding import HideRule
from tests.support.scripted_server import Heard, answer, scripted

if TYPE_CHECKING:
    from nowbridge.servicenow.instance import Instance
    from tests.support.site import Site

FIELDS = ("sys_id", "number", "short_description")


async def read_all(instance: Instance, sweep: IdSweep) -> list[str]:
    decoder, ids = PageDecoder(FIELDS), list[str]()
    while (request := sweep.next_request()) is not None:
        page_answer = await tables.read_page(instance, "incident", request, FIELDS)
        page = decoder.decode(page_answer.body)
        ids += page.ids
        sweep.received(page.ids, None, page.rows, page_answer.total_count)
    return ids


@pytest.mark.req("S26")
@pytest.mark.trap("25")
async def test_everything_readable_is_read_past_hidden_rows(site: Site) -> None:
    ids = site.add_incidents(300)
    site.twin.instance.add_user("reader", "secret", roles=("itil",))
    for low in (40, 150, 151, 260):
        site.hide(HideRule("incident", f"sys_id>={ids[low]}^sys_id<{ids[min(low + 30, 299)]}"))
    sweep = IdSweep("", None, None, 20)
    read = await read_all(site.sign_in(Basic("reader", "secret")), sweep)
    hidden = {i for low in (40, 150, 151, 260) for i in ids[low : min(low + 30, 299)]}
    assert set(read) == set(ids) - hidden
    assert len(read) <= len(set(read)) + 4, "to measure a page, one row of it may come again"
    assert sweep.hidden == len(hidden)
    assert await read_all(site.sign_in(), IdSweep("", None, None, 77)) == ids


async def test_records_come_by_their_ids_with_the_count_of_those_that_exist(site: Site) -> None:
    ids = site.add_incidents(5)
    site.twin.instance.add_user("reader", "secret")
    site.hide(HideRule("incident", f"sys_id={ids[1]}"))
    got = await tables.read_records(site.sign_in(Basic("reader", "secret")), "incident", [*ids[:3], "f" * 32], FIELDS)
    assert sorted(PageDecoder(FIELDS).decode(got.body).ids) == [ids[0], ids[2]]
    assert got.total_count == 3  # the hidden one exists, the last one does not


async def test_a_hundred_records_fit_one_call_and_more_are_a_bug(site: Site) -> None:
    ids = site.add_incidents(101)
    instance = site.sign_in()
    got = await tables.read_records(instance, "incident", ids[:100], FIELDS)
    assert PageDecoder(FIELDS).decode(got.body).rows == 100
    for wrong in (ids, []):
        with pytest.raises(ValueError, match="ids in one call"):
            await tables.read_records(instance, "incident", wrong, FIELDS)


async def test_labels_come_beside_the_values(site: Site) -> None:
    site.add_incidents(1, state="2", priority="1")
    fields = ("sys_id", "state", "priority")
    got = await tables.read_page(site.sign_in(), "incident", PageRequest("", 5), fields, display=True)
    page = PageDecoder(fields, display=True).decode(got.body)
    assert (page.column("state"), page.display("state")) == (("2",), ("In Progress",))
    assert got.total_count is None


async def test_counting_sees_what_matches(site: Site) -> None:
    site.add_incidents(7, active="true")
    instance = site.sign_in()
    assert await tables.count(instance, "incident") == 7
    assert await tables.count(instance, "incident", "active=false") == 0


@pytest.mark.req("S26")
async def test_a_record_is_created_changed_and_deleted(site: Site) -> None:
    instance, sys_id = site.sign_in(), "ab" * 16
    made = await tables.create(instance, "incident", {"sys_id": sys_id, "short_description": "ümlaut"}, FIELDS)
    record = json.loads(made.body)["result"]
    assert (made.status, record["sys_id"], record["short_description"]) == (201, sys_id, "ümlaut")
    changed = await tables.update(instance, "incident", sys_id, {"short_description": "new"}, FIELDS)
    assert json.loads(changed.body)["result"]["short_description"] == "new"
    await tables.delete(instance, "incident", sys_id)
    for again in (
        tables.delete(instance, "incident", sys_id),
        tables.update(instance, "incident", sys_id, {"short_description": "x"}, FIELDS),
    ):
        with pytest.raises(Park) as caught:
            await again
        assert caught.value.code == "record.missing"


@pytest.mark.parametrize("table", ["incidnt", "no such/table", "../sys_user", "a?b", ""])
async def test_a_table_that_does_not_exist_stops(site: Site, table: str) -> None:
    with pytest.raises(Stop) as caught:
        await tables.count(site.sign_in(), table)
    assert caught.value.code == "table.unknown"


@pytest.mark.parametrize("sys_id", ["", ".", ".."])
async def test_an_id_that_would_leave_the_table_is_refused(site: Site, sys_id: str) -> None:
    with pytest.raises(Park):
        await tables.delete(site.sign_in(), "incident", sys_id)


PASSING = [
    {"kind": "truncate"},
    {"kind": "drop_after"},
    {"kind": "drop_before"},
    {"kind": "accepted"},
    {"kind": "error_in_body"},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 429, "headers": {"Retry-After": "3"}},
]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}")
async def test_a_read_survives_a_passing_fault(site: Site, fault: dict[str, object]) -> None:
    ids = site.add_incidents(30)
    site.arm(**fault, count=2, skip=1)
    assert await read_all(site.sign_in(), IdSweep("", None, None, 10)) == ids
    assert site.waits


LASTING: list[tuple[dict[str, object], type[NowbridgeError], str]] = [
    ({"kind": "truncate"}, Retry, "answer.cut"),
    ({"kind": "null_body"}, Retry, "answer.cut"),
    ({"kind": "accepted"}, Retry, "busy.session"),
    ({"kind": "error_in_body"}, Retry, "busy.quota"),
    ({"kind": "hibernating"}, Stop, "instance.hibernating"),
    ({"kind": "drop_before"}, Retry, "network.unreachable"),
    ({"kind": "status", "status": 500}, Retry, "busy.unavailable"),
    ({"kind": "status", "status": 429}, Retry, "busy.rate_limit"),
]


@pytest.mark.parametrize(
    ("fault", "kind", "code"), LASTING, ids=lambda value: value["kind"] if isinstance(value, dict) else ""
)
async def test_a_lasting_fault_has_its_name(
    site: Site, fault: dict[str, object], kind: type[NowbridgeError], code: str
) -> None:
    site.add_incidents(3)
    site.arm(**fault)
    with pytest.raises(kind) as caught:
        await read_all(site.sign_in(), IdSweep("", None, None, 10))
    assert caught.value.code == code


@pytest.mark.parametrize("kind", ["drop_after", "truncate", "accepted"])
async def test_a_create_without_a_usable_answer_is_unsettled_and_sent_once(site: Site, kind: str) -> None:
    site.arm(kind=kind, method="POST")
    with pytest.raises(Unsettled):
        await tables.create(site.sign_in(), "incident", {"short_description": "x"}, FIELDS)
    assert site.calls("/table/incident") == 1
    assert site.twin.instance.count("incident") == (0 if kind == "accepted" else 1)


def batch(status: int, body: bytes, **headers: str) -> bytes:
    item = {
        "id": "1",
        "status_code": status,
        "status_text": "x",
        "body": b64encode(body).decode(),
        "execution_time": 5,
        "headers": [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()],
    }
    return json.dumps({"batch_request_id": "1", "serviced_requests": [item], "unserviced_requests": []}).encode()


LONG = PageRequest("^OR".join(f"short_descriptionLIKE{'x' * 90}{n}" for n in range(100)), 10, with_count=True)


async def test_a_read_too_long_for_a_url_goes_as_a_batch(site: Site) -> None:
    asked: list[dict[str, object]] = []

    async def instance_with_batch(heard: Heard) -> bytes:
        assert heard.line == "POST /api/now/v1/batch HTTP/1.1"
        asked.extend(json.loads(heard.body)["rest_requests"])
        return answer(200, batch(200, b'{"result":[{"sys_id":"1"}]}', X_Total_Count="41"))

    async with scripted(instance_with_batch) as server:
        got = await tables.read_page(site.sign_in(url=server.url), "incident", LONG, ("sys_id",))
    assert got.body == b'{"result":[{"sys_id":"1"}]}'
    assert got.total_count == 41
    assert asked[0]["method"] == "GET"
    assert str(asked[0]["url"]).startswith("/api/now/table/incident?sysparm_query=short_descriptionLIKExxx")


INNER: list[tuple[bytes, type[NowbridgeError], str]] = [
    (batch(403, b'{"error":{"message":"Insufficient rights to query records","detail":""}}'), Stop, "query.rights"),
    (batch(200, b'{"result":[{"sys'), Retry, "answer.cut"),
    (b'{"batch_request_id":"1","serviced_requests":[],"unserviced_requests":["1"]}', Retry, "busy.quota"),
    (b'{"batch_request_id":"1","serviced_requests":[{"id":"1","status_code":200,"body":"?"}]}', Retry, "answer.cut"),
]


@pytest.mark.parametrize(("body", "kind", "code"), INNER)
async def test_what_is_inside_a_batch_is_checked_like_any_answer(
    site: Site, body: bytes, kind: type[NowbridgeError], code: str
) -> None:
    async def instance_with_batch(heard: Heard) -> bytes:
        return answer(200, body)

    async with scripted(instance_with_batch) as server:
        with pytest.raises(kind) as caught:
            await tables.read_page(site.sign_in(url=server.url), "incident", LONG, ("sys_id",))
    assert caught.value.code == code


async def test_a_filter_longer_than_any_url_is_swept_like_a_short_one(site: Site) -> None:
    ids = site.add_incidents(60, short_description="a printer on fire")
    text = "^OR".join(["short_descriptionLIKEprinter", *(f"short_descriptionLIKE{'x' * 90}{n}" for n in range(100))])
    assert await read_all(site.sign_in(), IdSweep(text, None, None, 25)) == ids
    assert site.calls("/api/now/v1/batch") == 3
    assert await tables.count(site.sign_in(), "incident", text) == 60


async def test_the_instances_clock_is_asked_for_and_then_remembered_for_a_moment(site: Site) -> None:
    instance = site.sign_in()
    site.twin.instance.clock.advance(86_400)
    told = await instance.server_now()
    assert 0 <= (site.twin.instance.clock.now() - told).total_seconds() < 5
    await instance.server_now()
    assert site.calls("/table/sys_user") == 1


async def test_a_missing_count_is_an_error(site: Site) -> None:
    async def uncounted(heard: Heard) -> bytes:
        return answer(200, b'{"result":[]}')

    async with scripted(uncounted) as server:
        with pytest.raises(Stop) as caught:
            await tables.count(site.sign_in(url=server.url), "incident")
    assert caught.value.code == "count.missing"
