"""Answers recorded from a real instance, compared with what the twin says for the same stored values."""

import gzip
import json
from typing import Any

import pytest

from tests.nowtwin.documented import snapshot
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("1.3", evidence="recorded exchange: StackVista change requests")

RECORDING = "recorded_change_requests.stackvista.dev.jsonl.gz"
SCHEMA = "servicenow_schema.json.gz"
LOST = {"approval_history", "cab_date"}
"""Of the first the recording holds the display value, but not the journal rows it was made of; the second is retired."""


def _recorded() -> list[dict[str, Any]]:
    with gzip.open(snapshot(RECORDING), "rt") as lines:
        return [json.loads(line)["response"]["body"]["result"][0] for line in lines]


def _load(talk: Talk, row: dict[str, Any]) -> None:
    """The stored values of a recorded row, and the records that it points at."""
    instance = talk.instance
    columns = instance.dictionary.columns("change_request")
    instance.load("change_request", [{k: cell["value"] for k, cell in row.items() if k in columns}])
    for element, cell in row.items():
        column = columns.get(element)
        target = column.reference if column and column.type == "reference" else None
        if target in instance.dictionary.tables and cell["value"]:
            shown = instance.dictionary.display_column(target or "")
            instance.load(target or "", [{"sys_id": cell["value"], shown: cell["display_value"]}])


def test_recorded_change_requests_read_the_same(talk: Talk) -> None:
    talk.instance.load_schema(json.loads(gzip.decompress(snapshot(SCHEMA).read_bytes())))
    # The recording's display times are one hour ahead of UTC in March and two in September.
    talk.instance.add_user("recorder", "x", roles=("admin",), time_zone="Europe/Brussels")
    recorder = talk.as_user("recorder", "x")
    for row in _recorded():
        _load(talk, row)
        (said,) = recorder.rows(
            "change_request",
            f"sys_id={row['sys_id']['value']}",
            sysparm_display_value="all",
            sysparm_exclude_reference_link="true",
        )
        assert set(row) - LOST <= set(said)
        compared = set(row) - LOST
        assert {key: said[key] for key in compared} == {key: row[key] for key in compared}
