"""Columns and choices as the dictionary says, inherited ones included, for accounts that may read much and little."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nowbridge.model.errors import Stop
from nowbridge.model.schema import ChoiceMode, SchemaSource
from nowbridge.servicenow import schema
from nowbridge.servicenow.auth import Basic
from nowtwin.access.hiding import HideRule
from tests.support.scripted_server import Heard, answer, scripted

if TYPE_CHECKING:
    from nowbridge.servicenow.instance import Instance
    from tests.support.site import Site


@pytest.mark.req("Q2", "S2")
async def test_a_table_has_its_own_columns_and_those_of_its_ancestors(site: Site) -> None:
    found = await schema.discover(site.sign_in(), ["incident", "cmdb_ci_win_server", "sys_user"])
    incident = found["incident"]
    assert incident.label == "Incident"
    assert incident.ancestors == ("task",)
    assert incident.display == "number"
    assert incident.source is SchemaSource.DICTIONARY
    caller, state = incident.column("caller_id"), incident.column("state")
    assert caller is not None
    assert (caller.internal_type, caller.reference, caller.defined_on) == ("reference", "sys_user", "incident")
    assert state is not None
    assert state.defined_on == "task"
    assert state.choice is ChoiceMode.DROPDOWN
    assert found["cmdb_ci_win_server"].ancestors[-2:] == ("cmdb_ci", "cmdb")
    assert found["sys_user"].display == "name"


@pytest.mark.req("Q2")
async def test_a_custom_column_is_found_where_it_was_added(site: Site) -> None:
    custom = {"table": "task", "element": "u_cost_code", "label": "Cost code", "type": "string", "max_length": 40}
    site.twin.instance.load_schema({"columns": [custom]})
    found = await schema.discover(site.sign_in(), ["incident"])
    column = found["incident"].column("u_cost_code")
    assert column is not None
    assert (column.label, column.defined_on, column.max_length) == ("Cost code", "task", 40)


async def test_the_columns_are_in_order_system_columns_first(site: Site) -> None:
    names = [column.name for column in (await schema.discover(site.sign_in(), ["task"]))["task"].columns]
    assert len(names) == len(set(names))
    assert names == sorted(names, key=lambda name: (not name.startswith("sys_"), name))
    assert {"sys_id", "sys_updated_on", "sys_mod_count", "sys_class_name"} <= set(names)


async def test_what_no_instance_has_is_told(site: Site) -> None:
    with pytest.raises(Stop) as caught:
        await schema.discover(site.sign_in(), ["incident", "incidnt"])
    assert caught.value.code == "table.unknown"


def humble(site: Site, *rules: HideRule) -> Instance:
    site.twin.instance.add_user("humble", "secret", roles=("itil",))
    site.hide(*rules)
    return site.sign_in(Basic("humble", "secret"))


NO_METADATA = (HideRule("sys_dictionary"), HideRule("sys_db_object"))
NO_DOCUMENT = {"kind": "status", "route": "/doc/table/schema/", "status": 404}


async def test_without_the_dictionary_some_records_tell_names_and_references(site: Site) -> None:
    user = site.twin.instance.add_user("beth", "x")
    site.add_incidents(2, caller_id=user)
    site.arm(**NO_DOCUMENT)
    found = (await schema.discover(humble(site, *NO_METADATA), ["incident"]))["incident"]
    assert found.source is SchemaSource.RECORDS
    caller = found.column("caller_id")
    assert caller is not None
    assert caller.reference == "sys_user"
    assert {"sys_id", "number", "short_description"} <= {column.name for column in found.columns}
    assert found.display == "number"
    assert found.ancestors == ()


async def test_the_schema_document_tells_types_and_records_tell_where_references_lead(site: Site) -> None:
    site.add_incidents(1, caller_id=site.twin.instance.add_user("beth", "x"))
    found = (await schema.discover(humble(site, *NO_METADATA), ["incident"]))["incident"]
    assert found.source is SchemaSource.DOCUMENT
    caller, opened = found.column("caller_id"), found.column("opened_at")
    assert caller is not None
    assert opened is not None
    assert (caller.internal_type, caller.reference) == ("reference", "sys_user")
    assert opened.internal_type == "glide_date_time"


async def test_what_the_dictionary_hides_is_completed(site: Site) -> None:
    site.add_incidents(1)
    partly = HideRule("sys_dictionary", "elementSTARTSWITHshort")
    found = (await schema.discover(humble(site, partly), ["incident"]))["incident"]
    assert found.source is SchemaSource.PARTIAL_DICTIONARY
    hidden, caller = found.column("short_description"), found.column("caller_id")
    assert hidden is not None
    assert caller is not None
    assert caller.reference == "sys_user"


async def test_where_nothing_can_be_read_it_says_so(site: Site) -> None:
    site.arm(**NO_DOCUMENT)
    with pytest.raises(Stop) as caught:
        await schema.discover(humble(site, *NO_METADATA, HideRule("incident")), ["incident"])
    assert caught.value.code == "rights.schema"


async def test_an_account_refused_all_metadata_still_gets_the_schema_document(site: Site) -> None:
    document = [{"label": "State", "exampleValue": "", "internalType": "integer", "name": "state"}]

    async def documented(heard: Heard) -> bytes:
        if "/doc/table/schema/incident" in heard.line:
            return answer(200, json.dumps({"result": document}).encode())
        body = json.dumps({"error": {"message": "Operation Failed", "detail": "ACL"}, "status": "failure"})
        return answer(403, body.encode())

    async with scripted(documented) as server:
        found = (await schema.discover(site.sign_in(url=server.url), ["incident"]))["incident"]
    assert found.source is SchemaSource.DOCUMENT
    assert [(c.name, c.label, c.internal_type) for c in found.columns] == [("state", "State", "integer")]


async def test_choices_come_by_the_table_they_are_filed_under(site: Site) -> None:
    found = await schema.choices(site.sign_in(), ["task", "incident"])
    labels = {(choice.table, choice.column, choice.value): choice.label for choice in found}
    assert labels["task", "priority", "1"] == "1 - Critical"
    assert {choice.table for choice in found} <= {"task", "incident"}


async def test_choices_that_may_not_be_read_are_told_from_choices_that_do_not_exist(site: Site) -> None:
    assert await schema.choices(site.sign_in(), ["no_such_table"]) == []
    for rule in (HideRule("sys_choice"), HideRule("sys_choice", elements=("value", "element", "name"))):
        site.twin.instance.access.rules.clear()
        with pytest.raises(Stop) as caught:
            await schema.choices(humble(site, rule), ["task"])
        assert caught.value.code == "rights.choices"


async def test_display_columns_alone(site: Site) -> None:
    found = await schema.displays(site.sign_in(), ["incident", "sys_user", "cmdb_ci_server", "cmdb_rel_ci"])
    assert found == {"incident": "number", "sys_user": "name", "cmdb_ci_server": "name", "cmdb_rel_ci": None}


def entry(name: str, element: str, **values: str) -> schema.Entry:
    return dict.fromkeys(schema._COLUMN_FIELDS, "") | {"name": name, "element": element} | values


def test_a_childs_entry_counts_and_the_class_that_defines_the_column_is_kept() -> None:
    columns = schema.merge_entries(
        [
            ("incident", {"state": entry("incident", "state", mandatory="true", max_length="x", choice="9")}),
            ("task", {"state": entry("task", "state", internal_type="integer"), "a": entry("task", "a", choice="1")}),
        ]
    )
    assert columns["state"].mandatory
    assert columns["state"].defined_on == "task"
    assert columns["state"].max_length is None
    assert columns["state"].choice is ChoiceMode.NONE
    assert columns["a"].choice is ChoiceMode.DROPDOWN_WITH_NONE
