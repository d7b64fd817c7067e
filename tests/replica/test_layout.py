"""What a ServiceNow table becomes in Postgres."""

from itertools import pairwise

import pytest

from nowbridge.model.errors import Stop
from nowbridge.model.schema import ChoiceMode, Column, Table
from nowbridge.replica.layout import LabelKind, Role, pg_name, plan_layout
from nowbridge.replica.spec import shard_ranges


def table(*columns: Column, display: str | None = "number") -> Table:
    key = Column("sys_id", "Sys ID", "GUID", "task")
    return Table("incident", "Incident", ("task",), (key, *columns), display)


def text(name: str) -> Column:
    return Column(name, name, "string", "incident")


@pytest.mark.req("Q40", "Q43")
def test_a_choice_shows_its_label_and_keeps_the_stored_value_beside_it_typed() -> None:
    state = Column("state", "State", "integer", "task", choice=ChoiceMode.DROPDOWN)
    layout = plan_layout(table(state))
    assert [(c.name, c.pg_type, c.role) for c in layout.columns[1:]] == [
        ("state", "text", Role.LABEL),
        ("state__value", "integer", Role.VALUE),
    ]
    assert layout.columns[1].labels is not None
    assert layout.columns[1].labels.kind is LabelKind.CHOICE


@pytest.mark.req("Q41", "Q42")
def test_a_reference_shows_the_name_and_a_list_of_references_shows_the_names() -> None:
    group = Column("assignment_group", "Group", "reference", "task", reference="sys_user_group")
    watchers = Column("watch_list", "Watch list", "glide_list", "task", reference="sys_user")
    columns = {c.name: c for c in plan_layout(table(group, watchers)).columns}
    assert columns["assignment_group"].pg_type == "text"
    assert columns["assignment_group__value"].pg_type == "text"
    assert columns["watch_list"].pg_type == columns["watch_list__value"].pg_type == "text[]"


def test_a_reference_that_is_keyed_by_name_is_its_own_label() -> None:
    by_name = Column(
        "internal_type", "Type", "reference", "sys_dictionary", reference="sys_glide_object", reference_key="name"
    )
    assert [c.name for c in plan_layout(table(by_name)).columns] == ["sys_id", "internal_type"]


@pytest.mark.req("Q44")
@pytest.mark.trap("24")
@pytest.mark.parametrize(
    ("internal_type", "pg_type"),
    [
        ("glide_date_time", "timestamptz"),
        ("glide_date", "date"),
        ("glide_duration", "interval"),
        ("boolean", "boolean"),
        ("integer", "integer"),
        ("longint", "bigint"),
        ("currency", "numeric"),
        ("user_roles", "text[]"),
        ("html", "text"),
        ("a_type_nobody_knows", "text"),
    ],
)
def test_every_dictionary_type_has_a_postgres_type(internal_type: str, pg_type: str) -> None:
    layout = plan_layout(table(Column("it", "It", internal_type, "incident")))
    assert layout.columns[1].pg_type == pg_type


def test_passwords_are_never_fetched() -> None:
    secret = Column("user_password", "Password", "password", "sys_user")
    layout = plan_layout(table(secret))
    assert "user_password" not in layout.fetched
    assert [c.name for c in layout.columns] == ["sys_id"]


@pytest.mark.trap("10")
def test_a_journal_is_a_column_that_is_never_loaded() -> None:
    notes = Column("work_notes", "Work notes", "journal_input", "task")
    layout = plan_layout(table(notes))
    assert [c.name for c in layout.columns] == ["sys_id", "work_notes"]
    assert [c.name for c in layout.loaded] == ["sys_id"]
    assert layout.fetched == ("sys_id",)


@pytest.mark.trap("21")
def test_text_is_text_whatever_its_length() -> None:
    short = Column("short_description", "Short description", "string", "task", max_length=160)
    assert plan_layout(table(short)).columns[1].pg_type == "text"


def test_the_key_comes_first_then_the_number_and_system_columns_last() -> None:
    layout = plan_layout(table(text("sys_updated_on"), text("aaa"), text("number")))
    assert [c.name for c in layout.columns] == ["sys_id", "number", "aaa", "sys_updated_on"]


def test_a_name_that_postgres_would_cut_off_stays_unique() -> None:
    one, other = pg_name("x" * 70 + "1"), pg_name("x" * 70 + "2")
    assert len(one) <= 63
    assert one != other
    assert pg_name("short") == "short"


def test_two_columns_of_one_name_are_refused_before_anything_is_made() -> None:
    choice = Column("state", "State", "string", "task", choice=ChoiceMode.DROPDOWN)
    with pytest.raises(Stop) as refused:
        plan_layout(table(choice, text("state__value")))
    assert refused.value.code == "table.column_twice"


def test_a_table_without_a_key_is_refused() -> None:
    with pytest.raises(Stop) as refused:
        plan_layout(Table("v_view", "View", (), (text("a"),)))
    assert refused.value.code == "table.without_key"


@pytest.mark.trap("29")
@pytest.mark.parametrize(
    ("total", "page", "shards"),
    [(0, 1000, 1), (800, 1000, 1), (3_500, 1000, 4), (100_000, 10_000, 12), (10**6, 1000, 16)],
)
def test_a_table_is_cut_into_shards_that_mostly_take_one_call_each(total: int, page: int, shards: int) -> None:
    ranges = shard_ranges(total, page)
    assert len(ranges) == shards
    assert ranges[0][0] is None
    assert ranges[-1][1] is None
    assert all(one[1] == other[0] for one, other in pairwise(ranges))
    assert all(low is None or high is None or low < high for low, high in ranges)
