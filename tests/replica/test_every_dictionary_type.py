"""A custom table with a column of every type of the dictionary: each becomes its Postgres type, holds its values, and keeps
what its type cannot hold as a misfit beside a row that is whole otherwise.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from nowbridge.replica import evolve
from nowbridge.replica.spec import layout_of
from nowbridge.store.rows import tables
from tests.support.replica import Bench

MOMENT = datetime(2024, 5, 1, 10, tzinfo=UTC)
# internal_type: Postgres type, a value on the wire, the value here, values that the type cannot hold
TYPES: dict[str, tuple[str, str, Any, tuple[str, ...]]] = {
    "string": ("text", "words", "words", ()),
    "translated_text": ("text", "words", "words", ()),
    "translated_field": ("text", "words", "words", ()),
    "multi_two_lines": ("text", "two\nlines", "two\nlines", ()),
    "boolean": ("boolean", "true", True, ("perhaps",)),
    "integer": ("integer", "42", 42, ("4294967296", "forty-two")),
    "longint": ("bigint", "4294967296", 2**32, ("9223372036854775808", "x")),
    "auto_increment": ("bigint", "7", 7, ("x",)),
    "order_index": ("integer", "100", 100, ("x",)),
    "decimal": ("numeric", "1.50", Decimal("1.50"), ("NaN", "much")),
    "float": ("numeric", "1.5", Decimal("1.5"), ("Infinity",)),
    "percent_complete": ("numeric", "12.5", Decimal("12.5"), ("half",)),
    "glide_date_time": (
        "timestamp with time zone",
        "2024-05-01 10:00:00",
        MOMENT,
        ("yesterday", "2024-02-30 10:00:00"),
    ),
    "due_date": ("timestamp with time zone", "2024-05-01 10:00:00", MOMENT, ("soon",)),
    "calendar_date_time": ("timestamp with time zone", "2024-05-01 10:00:00", MOMENT, ("2024-13-01 10:00:00",)),
    "glide_utc_time": ("timestamp with time zone", "2024-05-01 10:00:00", MOMENT, ("2024-05-01 25:00:00",)),
    "glide_date": ("date", "2024-05-01", date(2024, 5, 1), ("2024-02-30", "today")),
    "glide_time": ("time without time zone", "1970-01-01 10:00:00", time(10), ("noon",)),
    "glide_duration": ("interval", "1970-01-03 00:02:17", timedelta(days=2, seconds=137), ("long",)),
    "timer": ("interval", "1970-01-01 00:00:05", timedelta(seconds=5), ("5 s",)),
    "integer_date": ("integer", "20240501", 20240501, ("x",)),
    "integer_time": ("integer", "36000", 36000, ("x",)),
    "currency": ("numeric", "1234.5", Decimal("1234.5"), ("USD;1",)),
    "price": ("numeric", "1.25", Decimal("1.25"), ("free",)),
    "currency2": ("text", "USD;100.00", "USD;100.00", ()),
    "document_id": ("text", "a" * 32, "a" * 32, ()),
    "user_roles": ("ARRAY", "itil,admin", ["itil", "admin"], ()),
    "slushbucket": ("ARRAY", "a,b", ["a", "b"], ()),
    "glide_list": ("ARRAY", "a,b", ["a", "b"], ()),
    "choice": ("text", "c1", "c1", ()),
    "html": ("text", "<p>x</p>", "<p>x</p>", ()),
    "translated_html": ("text", "<p>x</p>", "<p>x</p>", ()),
    "script": ("text", "gs.log('\\n')", "gs.log('\\n')", ()),
    "script_plain": ("text", "x", "x", ()),
    "xml": ("text", "<a/>", "<a/>", ()),
    "json": ("text", '{"a": 1}', '{"a": 1}', ()),
    "conditions": ("text", "active=true^EQ", "active=true^EQ", ()),
    "url": ("text", "https://a.example/", "https://a.example/", ()),
    "email": ("text", "a@b.example", "a@b.example", ()),
    "phone_number_e164": ("text", "+4912345", "+4912345", ()),
    "ip_addr": ("text", "10.0.0.1", "10.0.0.1", ()),
    "mac_address": ("text", "00:11:22:33:44:55", "00:11:22:33:44:55", ()),
    "table_name": ("text", "incident", "incident", ()),
    "field_name": ("text", "state", "state", ()),
    "sys_class_path": ("text", "/!!", "/!!", ()),
    "domain_path": ("text", "/", "/", ()),
    "GUID": ("text", "b" * 32, "b" * 32, ()),
    "user_image": ("text", "c" * 32, "c" * 32, ()),
    "image": ("text", "x.png", "x.png", ()),
    "file_attachment": ("text", "d" * 32, "d" * 32, ()),
    "workflow": ("text", "fulfilled", "fulfilled", ()),
    "a_type_of_the_future": ("text", "x", "x", ()),
}
NEVER_FETCHED = ("password", "password2", "glide_var", "variables")
JOURNALS = ("journal", "journal_input", "journal_list")


def column_of(internal_type: str) -> str:
    return f"u_{internal_type.lower()}"


def make_table(bench: Bench) -> None:
    twin = bench.twin.instance
    made = [
        {"table": "u_everything", "element": column_of(name), "internal_type": name, "label": f"A {name}"}
        for name in (*TYPES, *NEVER_FETCHED, *JOURNALS)
    ]
    twin.load_schema({"tables": [{"name": "u_everything", "label": "Everything"}], "columns": made})
    good = {column_of(name): wire for name, (_, wire, _, _) in TYPES.items()}
    rows = [{"sys_id": "0" * 32, **good}, {"sys_id": "1" * 32}]
    most = max(len(bad) for *_, bad in TYPES.values())
    for at in range(most):
        odd = {column_of(name): bad[at] for name, (*_, bad) in TYPES.items() if len(bad) > at}
        rows.append({"sys_id": f"{at + 2}" * 32, **good, **odd})
    stamps: dict[str, str | int | float | None] = {"sys_mod_count": 0}
    stamps |= dict.fromkeys(("sys_created_on", "sys_updated_on"), "2024-05-01 10:00:00")
    twin.load("u_everything", [])
    for row in rows:  # as they are: nowtwin itself is stricter with what it is given
        whole: dict[str, str | int | float | None] = {**row, **stamps}
        twin.storage.put_many("u_everything", list(whole), [tuple(whole.values())])


@pytest.mark.req("Q36", "Q44")
async def test_each_becomes_its_type_and_holds_its_values(bench: Bench) -> None:
    make_table(bench)
    await bench.load("u_everything")
    found = dict(
        await bench.rows(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = 'u_everything' AND table_schema = 'public'"
        )
    )
    assert {name: found.get(column_of(name)) for name in TYPES} == {name: TYPES[name][0] for name in TYPES}
    assert not {column_of(name) for name in NEVER_FETCHED} & found.keys()
    assert {found[column_of(name)] for name in JOURNALS} == {"text"}

    names = ", ".join(f'"{column_of(name)}"' for name in TYPES)
    [values, nothing, *odd] = await bench.rows(f"SELECT {names} FROM u_everything ORDER BY sys_id")
    assert dict(zip(TYPES, values, strict=True)) == {name: TYPES[name][2] for name in TYPES}
    assert {name for name, value in zip(TYPES, nothing, strict=True) if value is not None} <= {"boolean"}
    for at, row in enumerate(odd):
        for name, value in zip(TYPES, row, strict=True):
            bad = TYPES[name][3]
            assert value == (None if len(bad) > at else TYPES[name][2]), (name, bad)
    misfits = await bench.rows("SELECT count(*) FROM nowbridge.value_issue")
    assert misfits == [(sum(len(bad) for *_, bad in TYPES.values()),)]
    assert (await bench.verify("u_everything")).equal


async def test_tables_and_columns_say_what_they_are_and_what_they_are_found_by_is_indexed(bench: Bench) -> None:
    bench.make_incidents(5)
    await bench.load("incident")
    comment = "SELECT obj_description('incident'::regclass)"
    assert await bench.rows(comment) == [(f"Incident (incident) of {bench.twin.url}",)]
    bare = await bench.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'incident'::regclass AND attnum > 0"
        " AND col_description(attrelid, attnum) IS NULL"
    )
    assert bare == []
    while (await bench.tend("index")).more:
        pass
    async with bench.database.transaction() as connection:
        row = await tables.load(connection, await bench.table_id("incident"))
    indexed = {
        column
        for (column,) in await bench.rows(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indrelid = 'incident'::regclass AND i.indisvalid"
        )
    }
    assert indexed == {"sys_id", *evolve.indexed(layout_of(row))}
    assert {"number", "sys_updated_on", "assigned_to__value", "assignment_group__value"} <= indexed
    assert not (await bench.tend("index")).more
