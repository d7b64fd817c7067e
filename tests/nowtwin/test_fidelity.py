"""The map of what surprises clients of ServiceNow (fidelity.toml): every item has its tests, every fault and every operation
of the control API is one that can be asked for; and items that no other file shows.
"""

import csv
import io
import os
import re
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from nowtwin.behaviour.faults import FIELDS, FaultRule, check
from nowtwin.control import routes as control
from scripts import coverage_page
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("12", evidence="documentation: c_TableAPI.md")
ITEMS = coverage_page.fidelity()
SECTIONS = Counter(item.section for item in ITEMS)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.section} {item.text}")
def test_every_item_has_a_behaviour_a_fault_or_an_operation_with_a_marked_test(item: coverage_page.Item) -> None:
    calls = {name for _, name in control.ROUTES}
    for way in item.how.split("; "):
        kind, _, name = way.partition(" ")
        assert way == "itself" or (kind == "fault" and name in FIELDS) or (kind == "control" and name in calls), way
    assert item.tests
    assert set(item.tests) <= {behaviour.test for behaviour in coverage_page.behaviours()}


def test_every_fault_is_in_the_map_and_in_the_reference_with_its_json() -> None:
    ways = [way for item in ITEMS for way in item.how.split("; ")]
    mapped = {way.removeprefix("fault ") for way in ways if way.startswith("fault ")}
    reference = (coverage_page.REPO / "docs" / "nowtwin.md").read_text(encoding="utf-8")
    shown = [
        msgspec.json.decode(rule, type=FaultRule)
        for rule in re.findall(r"^\| `(\{\"kind\":.*?\})` \|", reference, re.MULTILINE)
    ]
    check(shown)
    assert mapped == set(FIELDS) == {rule.kind for rule in shown}


def test_every_row_of_the_notes_is_in_the_map() -> None:
    data = os.environ.get("NOWBRIDGE_SHARED_DATA")
    notes = (
        (Path(data) if data else coverage_page.REPO.parent / "shared" / "data").parent / "design" / "servicenow-api.md"
    )
    if not notes.is_file():
        pytest.skip("the notes on ServiceNow are not beside the checkout, so the map is not compared with them")
    text = notes.read_text(encoding="utf-8")

    def rows(begin: str, end: str, pattern: str) -> int:
        part = text[text.index(begin) : text.index(end, text.index(begin))]
        return len(re.findall(pattern, part, re.MULTILINE))

    table = r"^\|(?! Symptom|---| Item)"
    assert rows("### 1.9", "Client rule", table) + 1 == SECTIONS["1.9"], "and the spoiled bytes"
    assert rows("## 10. ", "Cheap-read", table) + 1 == SECTIONS["10"], "and restarts"
    numbered = rows("## 12. ", "Runners-up", r"^\d+\. ")
    runners_up = text[text.index("Runners-up:") :].partition("\n")[0].count(";") + 1
    assert numbered + runners_up == SECTIONS["12"]


# -- items that no other file shows --------------------------------------------------------------------------------


def _many(talk: Talk, count: int) -> None:
    talk.instance.load("cmn_location", [{"sys_id": f"{n:032x}", "name": f"place {n}"} for n in range(count)])


@pytest.mark.behaviour("1.2, 10", evidence="documentation: c_TableAPI.md")
def test_a_list_without_a_limit_has_10000_rows(talk: Talk) -> None:
    _many(talk, 10_005)
    page = talk.get("table/cmn_location", sysparm_fields="sys_id")
    assert (len(page.result), page.headers["x-total-count"]) == (10_000, "10005")
    assert 'rel="next"' in page.headers["link"]


@pytest.mark.behaviour("10", evidence="documentation: JSONv2 web service; assumption: dv_ names")
def test_json_v2_has_250_records_unless_asked_for_more(talk: Talk) -> None:
    _many(talk, 300)
    talk.post("incident", {"short_description": "x", "state": "2"})
    records = talk.call("GET", "/cmn_location.do?JSONv2").json["records"]
    assert (len(records), records[0]["__status"]) == (250, "success")
    assert len(talk.call("GET", "/cmn_location.do?JSONv2&sysparm_record_count=260").json["records"]) == 260
    query = "sysparm_query=nameSTARTSWITHplace 29^ORDERBYname"
    named = talk.call("GET", f"/cmn_location_list.do?JSONv2&{query}").json["records"]
    assert [record["name"] for record in named] == sorted(f"place {n}" for n in (29, *range(290, 300)))
    (shown,) = talk.call("GET", "/incident.do?JSONv2&displayvalue=true").json["records"]
    (both,) = talk.call("GET", "/incident.do?JSONv2&displayvalue=all").json["records"]
    assert (shown["state"], both["state"], both["dv_state"]) == ("In Progress", "2", "In Progress")


@pytest.mark.behaviour("10", evidence="documentation: export limits; assumption: the form of the files")
def test_csv_and_xml_exports_end_at_10000_rows(talk: Talk) -> None:
    _many(talk, 10_005)
    answer = talk.call("GET", "/cmn_location_list.do?CSV")
    assert answer.headers["content-type"] == "text/csv;charset=UTF-8"
    head, *rows = csv.reader(io.StringIO(answer.body.decode()))
    assert "name" in head
    assert len(rows) == 10_000
    talk.post("sys_properties", {"name": "glide.xml.export.limit", "value": "3"})
    talk.patch("cmn_location", f"{0:032x}", {"name": "a <b> & c"})
    answer = talk.call("GET", "/cmn_location_list.do?XML&sysparm_query=ORDERBYsys_id")
    root = ET.fromstring(answer.body)
    assert [row.tag for row in root] == ["cmn_location"] * 3
    assert root[0].findtext("name") == "a <b> & c"


@pytest.mark.behaviour("1.8", evidence="assumption: exports refuse as pages do")
@pytest.mark.parametrize(
    "path", ["/no_such_table_list.do?CSV", "/no_such_table.do?JSONv2", "/incident.do?JSONv2&sysparm_record_count=x"]
)
def test_an_export_of_nonsense_is_answered(talk: Talk, path: str) -> None:
    assert talk.call("GET", path).status in {200, 400, 404}
    assert Talk(talk.url, talk.instance, {}).call("GET", path).status in {302, 303, 401}


@pytest.mark.behaviour("1.7, 12", evidence="measured by others: FS#70755805575")
def test_a_metadata_record_made_through_the_table_api_is_global(talk: Talk) -> None:
    app = talk.post("sys_app", {"name": "Mine", "scope": "x_mine"}).result["sys_id"]
    made = talk.post("sys_script", {"name": "r", "collection": "incident", "sys_scope": app, "sys_package": app}).result
    row = talk.get(f"table/sys_script/{made['sys_id']}", sysparm_exclude_reference_link="true").result
    assert (row["sys_scope"], row["sys_package"]) == ("global", "global")


@pytest.mark.behaviour("11.1, 12", evidence="documentation: UI policies are of forms")
def test_a_ui_policy_is_not_enforced(talk: Talk) -> None:
    policy = {"table": "incident", "short_description": "Category needed", "active": "true", "on_load": "true"}
    sys_id = talk.post("sys_ui_policy", policy).result["sys_id"]
    talk.post("sys_ui_policy_action", {"ui_policy": sys_id, "field": "category", "mandatory": "true"})
    made = talk.post("incident", {"category": ""})
    assert made.status == 201


@pytest.mark.behaviour("3.1, 12", evidence="documentation: r_FieldTypes.md")
def test_labels_of_choices_follow_the_users_language(talk: Talk) -> None:
    talk.control("POST", "users", {"user_name": "eva", "password": "p", "columns": {"preferred_language": "de"}})
    talk.control("POST", "users", {"user_name": "yves", "password": "p", "columns": {"preferred_language": "fr"}})
    choice = {"name": "incident", "element": "state", "value": "2", "label": "In Bearbeitung", "language": "de"}
    assert talk.post("sys_choice", choice).status == 201
    talk.post("incident", {"state": "2"})
    shown = [
        speaker.rows("incident", sysparm_display_value="true")[0]["state"]
        for speaker in (talk, talk.as_user("eva", "p"), talk.as_user("yves", "p"))
    ]
    assert shown == ["In Progress", "In Bearbeitung", "In Progress"]
