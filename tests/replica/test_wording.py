"""The quick way of a first load gives what the plain way gives, and leaves to it what it cannot do."""

import json
import random
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nowbridge.model.schema import ChoiceMode, Column, Table
from nowbridge.replica.layout import ColumnState, Layout, plan_layout
from nowbridge.replica.rows import SEPARATOR, Labels, encode_page
from nowbridge.replica.wording import Odd, WordedPage, Wording
from nowbridge.servicenow.wire import ABSENT, PageDecoder, exchanged

TABLE = Table(
    "incident",
    "Incident",
    ("task",),
    (
        Column("sys_id", "Sys ID", "GUID", "task"),
        Column("active", "Active", "boolean", "task"),
        Column("assigned_to", "Assigned to", "reference", "task", reference="sys_user"),
        Column("caller_id", "Caller", "reference", "task", reference="sys_user"),
        Column("category", "Category", "string", "task", choice=ChoiceMode.DROPDOWN),
        Column("opened_at", "Opened", "glide_date_time", "task"),
        Column("reassignment_count", "Count", "integer", "task"),
        Column("short_description", "Short description", "string", "task"),
        Column("state", "State", "integer", "task", choice=ChoiceMode.DROPDOWN),
        Column("time_worked", "Time worked", "glide_duration", "task"),
        Column("watch_list", "Watch list", "glide_list", "task", reference="sys_user"),
    ),
)
LAYOUT = plan_layout(TABLE)
FIELDS = LAYOUT.fetched
HOSTILE = "a\x1fb\\c\nd\re\x00f"
TEXTS = st.sampled_from(
    ["", "", "plain", "two\nlines", "back\\slash", "tab\t", "sep\x1farate", "nul\x00", "é😀", HOSTILE]
)
VALUES = {
    "active": st.sampled_from(["true", "false", ""]),
    "assigned_to": st.sampled_from(["", "u1", "u2", HOSTILE]),
    "caller_id": st.sampled_from(["", "u1", "u2"]),
    "category": st.sampled_from(["", "network", "typed by hand", HOSTILE]),
    "opened_at": st.sampled_from(["", "2026-01-02 03:04:05"]),
    "reassignment_count": st.sampled_from(["", "0", "-7"]),
    "short_description": TEXTS,
    "state": st.sampled_from(["", "2", "99"]),
    "time_worked": st.sampled_from(["", "1970-01-22 21:46:21", "1969-12-31 23:00:00"]),
    "watch_list": st.sampled_from(["", "u1", "u1,u3", "u1,u2"]),
}
MISFITS = {
    "opened_at": "the day before",
    "reassignment_count": "many",
    "state": "New",
    "time_worked": "1970-01-01 24:00:00",
}
ROWS = st.lists(st.fixed_dictionaries({}, optional=VALUES), min_size=1, max_size=5)


def labels(*unknown: str) -> Labels:
    users = {"": "", "u1": "Beth Anglin", "u3": 'Abel "Al", Tuter', "u2": 'Anglin, "Bud"\x1f', HOSTILE: HOSTILE}
    return Labels(
        choices={
            ("incident", "state"): {"2": "In Progress", "New": "New"},
            ("incident", "category"): {"network": "Net\\work"},
        },
        records={"sys_user": {key: word for key, word in users.items() if key not in unknown}},
    )


def body(rows: Sequence[dict[str, str]]) -> bytes:
    return json.dumps({"result": [{"sys_id": str(at)} | row for at, row in enumerate(rows)]}).encode()


def plainly(layout: Layout, answer: bytes, words: Labels) -> list[dict[str, str]]:
    page = PageDecoder(layout.fetched).decode(answer)
    return copied(b"".join(encode_page(layout, page, words)), [c.name for c in layout.loaded])


def quickly(page: WordedPage) -> list[dict[str, str]]:
    return copied(b"".join(page.encoded()), page.wording.columns)


def copied(text: bytes, names: Sequence[str]) -> list[dict[str, str]]:
    lines = text.decode().split("\n")[:-1]
    return [dict(zip(names, line.split(SEPARATOR), strict=True)) for line in lines]


def holds_separator(row: dict[str, str]) -> bool:
    """Which is left to the plain way, be it in a value or in a label (of user u2)."""
    names = ",".join(row.get(field, "") for field in ("assigned_to", "caller_id", "watch_list"))
    return "u2" in names or any(SEPARATOR in text for text in row.values())


def decoded(answer: bytes, words: Labels, layout: Layout = LAYOUT, order: Sequence[str] = ()) -> WordedPage:
    page = WordedPage(Wording(layout, tuple(order) or layout.fetched, words), answer, ["assigned_to"])
    for _ in page.read():
        pass
    return page


@given(rows=ROWS, order=st.permutations(FIELDS))
@settings(deadline=None, max_examples=200)
def test_both_ways_copy_the_same_and_tell_ids_and_one_column_as_they_came(
    rows: list[dict[str, str]], order: list[str]
) -> None:
    if any(holds_separator(row) for row in rows):
        with pytest.raises(Odd):
            decoded(body(rows), labels(), order=order)
        return
    page = decoded(body(rows), labels(), order=order)
    came = PageDecoder(FIELDS).decode(body(rows))
    assert quickly(page) == plainly(LAYOUT, body(rows), labels())
    assert tuple(page.ids) == came.ids
    assert tuple(page.column("assigned_to")) == came.column("assigned_to")
    assert [text is ABSENT for text in page.column("assigned_to")] == [
        text is ABSENT for text in came.column("assigned_to")
    ]


@given(rows=ROWS)
@settings(deadline=None, max_examples=50)
def test_records_without_a_known_label_are_named_and_exchanged_when_they_were_looked_up(
    rows: list[dict[str, str]],
) -> None:
    rows = [row | {"watch_list": ""} for row in rows if not holds_separator(row)]
    words = labels("u1")
    page = decoded(body(rows), words)
    wanted = {row.get(field) for row in rows for field in ("assigned_to", "caller_id")} & {"u1"}
    assert set().union(*page.unknown.values()) == wanted
    if wanted:
        with pytest.raises(KeyError):
            page.settle()
    users = words.records["sys_user"]
    assert isinstance(users, dict)
    users.update(labels().records["sys_user"])
    page.settle()
    assert quickly(page) == plainly(LAYOUT, body(rows), labels())


def test_a_label_with_the_separator_that_was_looked_up_is_left_to_the_plain_way() -> None:
    words = labels("u2")
    page = decoded(body([{"caller_id": "u2"}]), words)
    users = words.records["sys_user"]
    assert isinstance(users, dict)
    users.update(labels().records["sys_user"])
    with pytest.raises(ValueError, match="separator"):
        page.settle()


@given(texts=st.lists(st.sampled_from(["", "plain", "},{", '},{"', '}]},{"a', "\\", "é"]), min_size=1, max_size=12))
@settings(deadline=None, max_examples=100)
def test_a_page_of_many_pieces_is_what_it_is_in_one(texts: list[str]) -> None:
    """Also where a text looks like the place between two records: the page is then left to the plain way, never torn."""
    rows = [{"short_description": text * 20_000} for text in texts]
    answer = json.dumps({"result": [{"sys_id": str(at)} | row for at, row in enumerate(rows)]}, separators=(",", ":"))
    try:
        page = decoded(answer.encode(), labels())
    except Odd:
        assert any("},{" in text for text in texts)
        return
    assert quickly(page) == plainly(LAYOUT, answer.encode(), labels())
    assert page.ids == [str(at) for at in range(len(rows))]


@pytest.mark.parametrize(
    "tail", [b'],"other":[{"a":"1"},{"sys_id":"torn"}]}', b'],"error":{"message":"x","detail":[{"a":1},{"b":2}]}}']
)
def test_objects_behind_the_records_never_pass_for_records(tail: bytes) -> None:
    for length in range(99_900, 100_100):
        record = b'{"sys_id":"1","short_description":"' + b"x" * length + b'"}'
        with pytest.raises(Odd):
            decoded(b'{"result":[' + record + tail, labels())


@pytest.mark.parametrize(("field", "text"), MISFITS.items())
def test_a_value_that_does_not_fit_is_left_to_the_plain_way(field: str, text: str) -> None:
    with pytest.raises(Odd):
        decoded(body([{field: text}]), labels())


@pytest.mark.parametrize(
    "answer",
    [
        b'{"result":[{"sys_id":"1"}',
        b'{"result":[{"sys_id":"1"}],"error":{"message":"Transaction cancelled"}}',
        b'{"error":{"message":"no"}}',
        b'{"result":{"sys_id":"1"}}',
        b'{"result":[{"sys_id":"1","caller_id":{"link":"x","value":"u1"}}]}',
        b'{"result":[{"sys_id":"1","state":2}]}',
        b"[]",
        b"<html>",
    ],
)
def test_an_answer_that_is_not_plainly_a_list_of_texts_is_not_read(answer: bytes) -> None:
    with pytest.raises(Odd):
        decoded(answer, labels())


def test_a_table_without_any_known_record_and_a_choice_without_a_list_are_no_obstacle() -> None:
    nothing = Labels(choices={}, records={})
    page = decoded(body([{"caller_id": "u1", "state": "2", "category": ""}]), nothing)
    assert page.unknown in ({"caller_id": {"u1"}}, {"assigned_to": {"u1"}})


@pytest.mark.parametrize("state", [ColumnState.UNREADABLE, ColumnState.RETYPED, ColumnState.FILLING])
def test_columns_in_every_state_are_copied_as_the_plain_way_does(state: ColumnState) -> None:
    dice = random.Random(7)
    for source in ("category", "opened_at", "caller_id", "watch_list", "state"):
        columns = tuple(msgspec.structs.replace(c, state=state) if c.source == source else c for c in LAYOUT.columns)
        layout = msgspec.structs.replace(LAYOUT, columns=columns)
        rows = [{"category": "network", "caller_id": dice.choice(["u1", ""]), "state": "2", "watch_list": "u1,u3"}] * 3
        assert quickly(decoded(body(rows), labels(), layout)) == plainly(layout, body(rows), labels())


def test_words_of_another_memory_or_many_more_of_them_make_a_wording_stale() -> None:
    held = labels()
    wording = Wording(LAYOUT, FIELDS, held)
    assert not wording.is_stale(Labels(held.choices, held.records, held.generation))
    assert wording.is_stale(labels())
    users = held.records["sys_user"]
    assert isinstance(users, dict)
    users.update({str(number): "word" for number in range(1_000)})
    assert wording.is_stale(held)


def test_msgspec_exchanges_texts_by_the_table_of_an_enum() -> None:
    """What `exchanged` relies on, and no document of msgspec promises."""
    asked: list[str] = []

    def otherwise(text: str) -> str:
        asked.append(text)
        return text.upper()

    kind = exchanged({"a": "one", "": "none", "é": "accent"}, otherwise)
    read = msgspec.json.decode(b'["a","","\\u00e9","other"]', type=list[kind])  # type: ignore[valid-type]
    assert read == ["one", "none", "accent", "OTHER"]
    assert asked == ["other"]
    assert [type(text) for text in read] == [str] * 4
