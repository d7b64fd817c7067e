"""A page becomes columns of text, whichever shape its values have, and the quick way says the same as the slow one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.model.errors import NowbridgeError, Retry, Stop
from nowbridge.servicenow.wire import ABSENT, Page, PageDecoder, display_of, value_of

FIELDS = ("sys_id", "state", "caller_id.email", "class", "größe")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
plain_rows = st.lists(st.dictionaries(st.sampled_from([*FIELDS, "extra"]), texts), max_size=6)
odd_cells = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.builds(lambda v: {"value": v, "link": "https://h/api/now/table/x/" + v}, st.text("abc", min_size=1)),
    st.builds(lambda v, d: {"value": v, "display_value": d}, texts, st.none() | texts),
)


def body(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"result": rows}).encode()


@given(plain_rows)
def test_plain_pages_come_out_as_they_went_in(rows: list[dict[str, str]]) -> None:
    page = PageDecoder(FIELDS).decode(body(rows))
    assert page.rows == len(rows)
    for field in FIELDS:
        assert list(page.column(field)) == [row.get(field, "") for row in rows]
    assert list(page.ids) == [row.get("sys_id", "") for row in rows]


@given(plain_rows)
def test_the_tolerant_way_gives_the_same_page_as_the_quick_one(rows: list[dict[str, str]]) -> None:
    decoder = PageDecoder(FIELDS)
    assert decoder._tolerant(body(rows)) == decoder.decode(body(rows))


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), odd_cells), max_size=5), st.booleans())
def test_odd_values_are_read_by_their_meaning(rows: list[dict[str, Any]], display: bool) -> None:
    page = PageDecoder(FIELDS, display=display).decode(body(rows))
    for field in FIELDS:
        assert list(page.column(field)) == [value_of(row.get(field, "")) for row in rows]
        if display:
            assert list(page.display(field)) == [display_of(row.get(field, "")) for row in rows]


@given(st.lists(st.fixed_dictionaries({"value": texts, "display_value": st.none() | texts}), min_size=1))
def test_pages_with_labels_give_values_and_labels(cells: list[dict[str, str | None]]) -> None:
    page = PageDecoder(("state",), display=True).decode(body([{"state": cell} for cell in cells]))
    assert list(page.column("state")) == [cell["value"] for cell in cells]
    assert list(page.display("state")) == [cell["display_value"] or "" for cell in cells]


@pytest.mark.parametrize(
    ("cell", "value", "display"),
    [
        ({"link": "https://h/api/now/table/sys_user/46d4", "value": "46d4"}, "46d4", "46d4"),
        ({"link": "https://h/api/now/table/sys_user/46d4", "display_value": "Beth"}, "46d4", "Beth"),
        ({"link": "https://h/api/now/table/sys_glide_object?name=string", "value": "string"}, "string", "string"),
        ({"link": "https://h/api/now/table/sys_glide_object?name=string"}, "string", '{"link": "https://h"}'),
        ({"display_value": None, "value": ""}, "", ""),
        (None, "", ""),
        (True, "true", "true"),
        ([1, "a"], '[1, "a"]', '[1, "a"]'),
    ],
)
def test_shapes_of_a_cell(cell: object, value: str, display: str) -> None:
    """servicenow-api.md 1.3."""
    assert value_of(cell) == value
    if not display.startswith("{"):
        assert display_of(cell) == display


def test_numbers_keep_their_digits() -> None:
    page = PageDecoder(("a",)).decode(b'{"result":[{"a":1.50},{"a":12345678901234567890},{"a":1e3}]}')
    assert page.column("a") == ("1.50", "12345678901234567890", "1e3")


def test_half_an_emoji_is_replaced_and_the_rest_kept() -> None:
    page = PageDecoder(("a", "b")).decode(b'{"result":[{"a":"x\\ud83d","b":"\\ud83d\\ude00"}]}')
    assert page.column("a") == ("x\ufffd",)
    assert page.column("b") == ("\U0001f600",)
    "".join(page.column("a")).encode()


def test_a_column_that_a_record_lacks_is_empty_but_known_to_be_absent() -> None:
    page = PageDecoder(("a", "b", "c")).decode(b'{"result":[{"a":"","b":"1"},{"a":"","c":"2"}]}')
    assert page.column("b") == ("1", "")
    assert page.column("b")[1] is ABSENT
    assert page.column("a")[0] is not ABSENT
    assert page.absent == ("b", "c")
    assert PageDecoder(("a",)).decode(b'{"result":[]}').absent == ()


def test_absence_is_known_with_labels_and_odd_values_too() -> None:
    page = PageDecoder(("a", "b"), display=True).decode(b'{"result":[{"a":{"value":"","display_value":""}}]}')
    assert page.absent == ("b",)
    assert PageDecoder(("a", "b")).decode(b'{"result":[{"a":null}]}').absent == ("b",)


@given(st.integers(0, 60))
def test_a_page_cut_short_is_an_error(length: int) -> None:
    whole = body([{"sys_id": "1", "state": "a" * 40}])
    with pytest.raises(Retry) as caught:
        PageDecoder(("sys_id",)).decode(whole[: min(length, len(whole) - 1)])
    assert caught.value.code == "answer.cut"


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"result":{"sys_id":"1"}}', b'{"result":["a"]}', b"null", b"1"])
def test_what_is_no_list_of_records_is_an_error(content: bytes) -> None:
    with pytest.raises(Stop) as caught:
        PageDecoder(("sys_id",)).decode(content)
    assert caught.value.code == "answer.unexpected"


@given(st.binary(max_size=40))
def test_any_bytes_are_a_page_or_one_of_our_errors(content: bytes) -> None:
    try:
        page: Page | None = PageDecoder(("a",)).decode(content)
    except NowbridgeError:
        page = None
    assert page is None or page.rows >= 0


def test_labels_that_were_not_asked_for_are_a_bug() -> None:
    with pytest.raises(ValueError, match="without display"):
        PageDecoder(("a",)).decode(b'{"result":[]}').display("a")
