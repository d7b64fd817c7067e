"""Wire columns to COPY rows, held against Postgres itself."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowbridge.model.schema import ChoiceMode, Column, Table
from nowbridge.replica.layout import plan_layout
from nowbridge.replica.misfits import without_misfits
from nowbridge.replica.rows import Labels, copy_columns, encode, intervals, referenced
from nowbridge.servicenow.values import duration_text

TABLE = Table(
    "incident",
    "Incident",
    ("task",),
    (
        Column("sys_id", "Sys ID", "GUID", "task"),
        Column("active", "Active", "boolean", "task"),
        Column("assigned_to", "Assigned to", "reference", "task", reference="sys_user"),
        Column("opened_at", "Opened", "glide_date_time", "task"),
        Column("state", "State", "integer", "task", choice=ChoiceMode.DROPDOWN),
        Column("time_worked", "Time worked", "glide_duration", "task"),
        Column("watch_list", "Watch list", "glide_list", "task", reference="sys_user"),
    ),
)
LAYOUT = plan_layout(TABLE)
PAGE = {
    "sys_id": ["a", "b"],
    "active": ["true", ""],
    "assigned_to": ["u1", "nobody"],
    "opened_at": ["2026-01-02 03:04:05", ""],
    "state": ["2", "99"],
    "time_worked": ["1970-01-22 21:46:21", ""],
    "watch_list": ["u1,u2", ""],
}
LABELS = Labels(
    choices={("incident", "state"): {"2": "In Progress"}},
    records={"sys_user": {"": "", "u1": "Beth Anglin", "u2": 'Anglin, "Bud"', "nobody": "nobody"}},
)


def test_labels_come_beside_the_stored_values_and_what_has_no_label_stands_for_itself() -> None:
    columns = dict(zip([c.name for c in LAYOUT.loaded], copy_columns(LAYOUT, PAGE, 2, LABELS), strict=True))
    assert list(columns["state"]) == ["In Progress", "99"]
    assert list(columns["state__value"]) == ["2", "99"]
    assert list(columns["assigned_to"]) == ["Beth Anglin", "nobody"]
    assert list(columns["watch_list"]) == ['{"Beth Anglin","Anglin, \\"Bud\\""}', ""]


def test_a_page_names_the_records_that_it_points_at() -> None:
    assert referenced(LAYOUT, PAGE) == {"sys_user": {"u1", "u2", "nobody"}}


def test_a_column_that_the_account_may_not_read_is_null_throughout() -> None:
    page = {name: texts for name, texts in PAGE.items() if name != "state"}
    columns = dict(zip([c.name for c in LAYOUT.loaded], copy_columns(LAYOUT, page, 2, LABELS), strict=True))
    assert list(columns["state"]) == list(columns["state__value"]) == ["", ""]


def test_values_that_do_not_fit_are_emptied_and_named_without_their_text() -> None:
    bad = PAGE | {"opened_at": ["the day before", "2026-02-30 00:00:00"], "state": ["2", "99999999999"]}
    cleaned, misfits = without_misfits(LAYOUT, bad)
    assert [(m.sys_id, m.column) for m in misfits] == [("a", "opened_at"), ("b", "opened_at"), ("b", "state__value")]
    assert cleaned["opened_at"] == ["", ""]
    assert cleaned["state"] == ["2", ""]
    assert "the day before" not in repr(misfits)


@given(
    rows=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\\\n\r\t\x1f\x00."))] * 3),
        max_size=5,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_postgres_reads_back_any_text_except_nul_and_empty(
    rows: list[tuple[str, str, str]], maintenance: psycopg.Connection
) -> None:
    with maintenance.transaction():
        maintenance.execute("CREATE TEMP TABLE IF NOT EXISTS copied (a text, b text, c text)")
        maintenance.execute("TRUNCATE copied")
        with maintenance.cursor().copy("COPY copied FROM STDIN (FORMAT text, DELIMITER E'\\x1f', NULL '')") as copy:
            copy.write(encode(list(zip(*rows, strict=True)) or [[], [], []]))
        read = maintenance.execute("SELECT a, b, c FROM copied").fetchall()
    assert read == [tuple(text.replace("\x00", "") or None for text in row) for row in rows]


@given(seconds=st.lists(st.integers(-(10**9), 10**9), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_postgres_reads_durations_to_the_second(seconds: list[int], maintenance: psycopg.Connection) -> None:
    texts = intervals([duration_text(one) for one in seconds])
    read = maintenance.execute(
        "SELECT extract(epoch FROM t::interval)::bigint FROM unnest(%s::text[]) AS u(t)", (texts,)
    )
    assert [one for (one,) in read.fetchall()] == seconds


@pytest.mark.parametrize(
    "text", ["1970-02-30 00:00:00", "1970-01-01 24:00:00", "1970-01-01 00:00:0", "5 days", "\n" * 19, "\n"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not every value is a duration"):
        intervals(["1970-01-01 00:00:01", text])
