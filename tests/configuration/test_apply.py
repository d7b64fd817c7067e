"""plan, apply and export on a database and an instance."""

from __future__ import annotations

from pathlib import Path

import pytest

from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program

FILE = """\
version: 1
connections:
  acme:
    url: {url}
    auth: basic
    username: svc.nowbridge
    secrets: {{password: env:ACME_PASSWORD}}
    settings: {{poll_seconds: 5}}
    tables:
      incident:
        filter: active=true
        deletes: soft
        sql_deletes: 5
        columns: {{exclude: [close_notes], rename: {{category: kind}}}}
      sys_user: {{as: people}}
"""


def test_from_nothing_to_a_replica_and_back(program: Program, account: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "nowbridge.yaml"
    file.write_text(FILE.format(url=account.url))
    calls = account.instance.calls.total
    shown = program.run("plan", str(file), "--json")
    assert shown.code == 2
    assert [(c["kind"], c["table"]) for c in shown.json["changes"]] == [
        ("add", None),
        ("add", "incident"),
        ("add", "sys_user"),
    ]
    assert account.instance.calls.total == calls, "a plan asks nothing of ServiceNow"

    assert program.run("apply", str(file)).code == 2, "nobody is there to be asked"
    without = program.run("apply", str(file), "--yes")
    assert (without.code, "config.secret" in without.err) == (3, True)
    made = program.run("apply", str(file), "--yes", ACME_PASSWORD=PASSWORD)
    assert made.code == 0, made.err
    assert program.run("plan", str(file)).code == 0
    assert program.run("apply", str(file), "--yes").code == 0, "nothing is left, and no secret is needed"

    exported = program.run("export").out
    assert PASSWORD not in exported
    again = tmp_path / "again.yaml"
    again.write_text(exported)
    assert program.run("plan", str(again), "--json").json == {"same": True, "changes": []}
    assert program.run("replicate", "incident").code == 0, "the file's tables are loaded like any other"
    rows = program.run("psql", "-Atc", "SELECT count(*), count(kind) FROM incident")
    assert rows.out.startswith("5|")


def test_a_failure_in_the_middle_leaves_the_rest_for_the_next_time(
    program: Program, account: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "nowbridge.yaml"
    file.write_text(
        FILE.format(url=account.url).replace(
            "      sys_user", "      no_such_table: {}\n      problem: {}\n      sys_user"
        )
    )
    broken = program.run("apply", str(file), "--yes", ACME_PASSWORD=PASSWORD)
    assert broken.code == 3
    file.write_text(FILE.format(url=account.url))
    left = program.run("plan", str(file), "--json").json["changes"]
    assert [(c["kind"], c["table"]) for c in left] == [("add", "sys_user")]
    assert program.run("apply", str(file), "--yes").code == 0


def test_what_is_not_named_goes_only_when_asked_and_its_rows_stay(
    program: Program, account: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "nowbridge.yaml"
    file.write_text(FILE.format(url=account.url))
    assert program.run("apply", str(file), "--yes", ACME_PASSWORD=PASSWORD).code == 0
    assert program.run("replicate", "incident", "sys_user").code == 0
    file.write_text(FILE.format(url=account.url).replace("      sys_user: {as: people}\n", ""))
    kept = program.run("apply", str(file), "--yes", "--json")
    assert (kept.code, [c["kind"] for c in kept.json["left"]]) == (2, ["remove"])
    assert program.run("apply", str(file), "--yes", "--prune").code == 0
    assert program.run("plan", str(file)).code == 0
    assert int(program.run("psql", "-Atc", "SELECT count(*) FROM people").out) > 0

    file.write_text(FILE.format(url=account.url))
    taken = program.run("apply", str(file), "--yes")
    assert (taken.code, "table.name_taken" in taken.err) == (3, True), "the rows that stayed are not touched"
    lesser = file.read_text().replace("      sys_user: {as: people}\n", "")
    file.write_text(lesser.replace("close_notes", "close_code").replace("soft", "hard"))
    changed = program.run("apply", str(file), "--yes", "--json").json
    assert [(c["kind"], [d["key"] for d in c["details"]]) for c in changed["made"] if c["table"] == "incident"] == [
        ("change", ["exclude", "deletes"])
    ]
    assert changed["left"] == []


def test_another_name_and_another_filter_are_made_in_place(
    program: Program, account: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "nowbridge.yaml"
    file.write_text(FILE.format(url=account.url))
    assert program.run("apply", str(file), "--yes", ACME_PASSWORD=PASSWORD).code == 0
    assert program.run("replicate", "incident").code == 0
    file.write_text(file.read_text().replace("filter: active=true", "filter: active=false\n        as: tickets"))
    shown = program.run("plan", str(file), "--json").json["changes"]
    assert [(c["kind"], [d["key"] for d in c["details"]]) for c in shown] == [("change", ["name", "filter"])]
    assert program.run("apply", str(file), "--yes").code == 0
    assert program.run("plan", str(file)).code == 0
    assert program.run("psql", "-Atc", "SELECT count(*) FROM tickets").out == "5\n", "the comparison is a worker's"


@pytest.mark.req("Q52")
def test_columns_of_a_table_that_is_there_come_go_and_change_their_names(
    program: Program, account: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "nowbridge.yaml"
    file.write_text(FILE.format(url=account.url))
    assert program.run("apply", str(file), "--yes", ACME_PASSWORD=PASSWORD).code == 0
    assert program.run("replicate", "incident").code == 0
    file.write_text(
        file.read_text().replace("[close_notes], rename: {category: kind}", "[urgency], rename: {impact: hit}")
    )
    shown = program.run("plan", str(file), "--json").json["changes"]
    assert [(c["kind"], [d["key"] for d in c["details"]]) for c in shown] == [("change", ["exclude", "rename"])]
    assert program.run("apply", str(file), "--yes").code == 0
    assert program.run("plan", str(file)).code == 0
    rows = program.run(
        "psql", "-Atc", "SELECT count(hit), count(category), count(close_notes), count(urgency) FROM incident"
    )
    assert rows.out == "5|5|0|5\n", "what is new is filled by a worker, and what is left out stays"
    states = program.run("schema", "incident", "--json").json["tables"][0]["columns"]
    assert {(state["column"], state["state"]) for state in states} == {
        ("close_notes", "filling"),
        ("urgency", "left out"),
        ("urgency__value", "left out"),
    }
    file.write_text(file.read_text().replace("[urgency]", "[sys_mod_count]"))
    refused = program.run("apply", str(file), "--yes")
    assert (refused.code, "columns.needed" in refused.err) == (3, True)
