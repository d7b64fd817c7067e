"""Snapshots, seeds and the pytest plugin: what tests of other projects lean on (docs/nowtwin.md; ours, no counterpart)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nowtwin.access.hiding import HideRule
from nowtwin.instance import Instance
from tests.nowtwin.talk import Talk
from tests.nowtwin.test_apps import COMPANION


def _snapshot(talk: Talk) -> str:
    name: str = talk.control("POST", "snapshot")["id"]
    return name


def test_rows_go_back_to_the_snapshot(talk: Talk) -> None:
    kept = talk.post("incident", {"short_description": "kept"}).result
    before = _snapshot(talk)
    talk.patch("incident", kept["sys_id"], {"short_description": "changed", "work_notes": "note"})
    talk.post("incident", {"short_description": "new"})
    talk.control("POST", "restore", {"id": before})
    assert talk.names("incident", "") == ["kept"]
    assert talk.rows("sys_journal_field", "") == []
    total = talk.get("table/incident", sysparm_limit=1).headers["x-total-count"]
    assert total == "1"


def test_what_happens_after_a_restore_happens_the_same_again(talk: Talk) -> None:
    before = _snapshot(talk)
    first = talk.post("incident", {}).result
    talk.control("POST", "restore", {"id": before})
    second = talk.post("incident", {}).result
    assert (first["sys_id"], first["number"]) == (second["sys_id"], second["number"])


def test_tables_columns_and_rules_go_back_too(talk: Talk) -> None:
    before = _snapshot(talk)
    talk.instance.install_app(COMPANION)
    after = _snapshot(talk)
    talk.control("POST", "restore", {"id": before})
    assert talk.get("table/x_nowt_comp_visit").status == 400
    assert talk.rows("sys_dictionary", "element=x_nowt_comp_site") == []
    assert talk.post("incident", {"short_description": "hello"}).result["short_description"] == "hello"
    talk.control("POST", "restore", {"id": after})
    assert talk.post("incident", {"short_description": "hello"}).result["short_description"] == "HELLO"
    assert talk.post("x_nowt_comp_visit", {"purpose": "repair"}).result["number"] == "VIS0000501"


def test_accounts_switches_and_hidden_rows_go_back_too(talk: Talk) -> None:
    instance = talk.instance
    instance.add_user("carol", "old", roles=("itil",))
    instance.switches = replace(instance.switches, group_integers=False)
    before = _snapshot(talk)
    instance.add_user("carol", "new")
    instance.add_user("dave", "pw")
    instance.switches = replace(instance.switches, group_integers=True)
    instance.access.rules = [HideRule("incident")]
    talk.control("POST", "restore", {"id": before})
    assert talk.as_user("carol", "old").get("table/incident").status == 200
    assert talk.as_user("carol", "new").get("table/incident").status == 401
    assert talk.as_user("dave", "pw").get("table/incident").status == 401
    assert instance.switches.group_integers is False
    assert instance.access.rules == []


def test_a_snapshot_outlives_a_reset_and_can_be_restored_again(talk: Talk) -> None:
    talk.instance.add_user("carol", "pw", roles=("admin",))
    talk.post("incident", {"short_description": "kept"})
    name = _snapshot(talk)
    for _ in range(2):
        talk.control("POST", "reset")
        assert talk.rows("incident") == []
        talk.control("POST", "restore", {"id": name})
        assert talk.as_user("carol", "pw").names("incident", "") == ["kept"]


def test_an_unknown_snapshot_is_refused(talk: Talk) -> None:
    for body in ({"id": "7"}, {"id": 7}, {}):
        assert talk.call("POST", "/_nowtwin/restore", json.dumps(body).encode()).status == 400


def test_snapshots_leave_no_file_behind(tmp_path: Path) -> None:
    with Instance(directory=tmp_path) as instance:
        instance.snapshots.take()
        assert (tmp_path / "snapshot-1.sqlite").is_file()
    assert not list(tmp_path.glob("snapshot*"))


def test_a_seed_adds_rows_to_what_is_there(talk: Talk, tmp_path: Path) -> None:
    talk.post("incident", {"short_description": "there already"})
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"incident": [{"short_description": "seeded"}]}))
    assert talk.control("POST", "seed", {"data": str(file)}) == {"loaded": {"incident": 1}}
    assert sorted(talk.names("incident", "")) == ["seeded", "there already"]
    assert talk.control("POST", "seed", {"data": "demo"})["loaded"]["problem"] == 89
    assert talk.call("POST", "/_nowtwin/seed", b'{"data": "/nowhere.json"}').status == 400


@pytest.mark.parametrize("query", ["short_description=kept", "ORDERBYshort_description"])
def test_counts_and_caches_know_of_a_restore(talk: Talk, query: str) -> None:
    name = _snapshot(talk)
    talk.post("incident", {"short_description": "kept"})
    assert talk.instance.count("incident", query) == 1
    talk.control("POST", "restore", {"id": name})
    assert talk.instance.count("incident", query) == 0
