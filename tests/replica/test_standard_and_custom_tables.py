"""The standard collection, the CMDB beyond its usual tables, custom tables and custom columns: all by one and the same way."""

from __future__ import annotations

import pytest

from nowbridge.replica.spec import TableSpec
from tests.support.replica import Bench

COLLECTION = {
    "sc_cat_item": "name",
    "change_request": "short_description",
    "cmdb_ci": "name",
    "kb_knowledge": "short_description",
    "sc_cat_item_guide": "name",
    "contract_sla": "name",
    "sc_request": "short_description",
    "incident": "short_description",
    "problem": "short_description",
    "sys_user": "name",
    "sc_catalog": "title",
    "cmdb_ci_server": "name",
    "cmdb_ci_service": "name",
}
"""Catalog items, changes, CIs, knowledge, order guides, SLAs, service requests; and classes of CIs that few show."""


@pytest.mark.req("Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "Q10", "L58")
async def test_the_standard_collection_is_loaded_followed_and_proved(bench: Bench) -> None:
    instance = bench.twin.instance
    keys = {table: [f"{0xE000 + 16 * number + at:032x}" for at in range(3)] for number, table in enumerate(COLLECTION)}
    for table, column in COLLECTION.items():
        rows = [{"sys_id": key, column: f"no {at}", "sys_class_name": table} for at, key in enumerate(keys[table])]
        instance.load(table, rows)
    await bench.load(*COLLECTION)
    for table, column in COLLECTION.items():
        instance.update(table, keys[table][0], {column: "changed"}, user="admin")
        instance.delete(table, keys[table][1], user="admin")
    await bench.catch_up()
    for table, column in COLLECTION.items():
        changed, gone, kept = keys[table]
        listed = f"SELECT sys_id, {column} FROM {table} WHERE sys_id IN ('{changed}', '{gone}', '{kept}') ORDER BY 1"
        assert await bench.rows(listed) == [(changed, "changed"), (gone, "no 1"), (kept, "no 2")], table
        await bench.verify(table, repair=True)
        assert await bench.rows(listed) == [(changed, "changed"), (kept, "no 2")], table
        assert (await bench.verify(table)).equal, table


@pytest.mark.req("S33")
async def test_relations_between_cis_show_both_ends_by_name(bench: Bench) -> None:
    instance = bench.twin.instance
    parent, child, kind, relation = (f"{0xF0 + at:032x}" for at in range(4))
    instance.load("cmdb_ci_server", [{"sys_id": parent, "name": "host"}, {"sys_id": child, "name": "guest"}])
    instance.load("cmdb_rel_type", [{"sys_id": kind, "name": "Hosts::Hosted on"}])
    instance.load("cmdb_rel_ci", [{"sys_id": relation, "parent": parent, "child": child, "type": kind}])
    await bench.load("cmdb_rel_ci")
    shown = await bench.rows("SELECT parent, parent__value, child, child__value, type__value FROM cmdb_rel_ci")
    assert shown == [("host", parent, "guest", child, kind)]
    assert (await bench.verify("cmdb_rel_ci")).equal


@pytest.mark.req("Q1", "Q2", "L56", "L57")
async def test_custom_tables_and_custom_columns_of_shipped_tables_are_like_any_other(bench: Bench) -> None:
    instance = bench.twin.instance
    instance.load_schema(
        {
            "tables": [{"name": "x_acme_lease", "label": "Lease"}, {"name": "u_lease_line", "label": "Lease line"}],
            "columns": [
                {
                    "table": "x_acme_lease",
                    "element": "name",
                    "internal_type": "string",
                    "label": "Name",
                    "display": True,
                },
                {"table": "x_acme_lease", "element": "u_ends", "internal_type": "glide_date", "label": "Ends"},
                {"table": "u_lease_line", "element": "u_cost", "internal_type": "decimal", "label": "Cost"},
                {"table": "incident", "element": "u_building", "internal_type": "string", "label": "Building"},
            ],
        }
    )
    key = "c" * 32
    instance.load("x_acme_lease", [{"sys_id": key, "name": "a lease", "u_ends": "2031-01-31"}])
    instance.load("u_lease_line", [{"sys_id": key, "u_cost": "12.50"}])
    instance.load("incident", [{"sys_id": key, "number": "INC1", "u_building": "north"}])
    await bench.load("x_acme_lease", "u_lease_line", TableSpec("incident"))
    assert await bench.rows("SELECT name, u_ends::text FROM x_acme_lease") == [("a lease", "2031-01-31")]
    assert await bench.rows("SELECT u_cost::text FROM u_lease_line") == [("12.5",)]
    assert await bench.rows("SELECT u_building FROM incident") == [("north",)]
    instance.update("incident", key, {"u_building": "south"}, user="admin")
    assert await bench.catch_up() == 1
    assert await bench.rows("SELECT u_building FROM incident") == [("south",)]
    for table in ("x_acme_lease", "u_lease_line", "incident"):
        assert (await bench.verify(table)).equal, table
