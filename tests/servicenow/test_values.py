"""Wire text becomes what Postgres reads, one by one and by the column alike; what does not fit is told, never guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nowbridge.servicenow import values
from nowbridge.servicenow.values import Family

FITTING = {
    Family.BOOLEAN: st.sampled_from(["true", "false", "1", "0"]),
    Family.INTEGER: st.integers().map(str),
    Family.DECIMAL: st.decimals(allow_nan=False, allow_infinity=False, places=2).map(lambda d: f"{d:f}"),
    Family.DATETIME: st.datetimes().map(lambda moment: moment.isoformat(" ", "seconds")),
    Family.DATE: st.dates().map(str),
    Family.TIME: st.times().map(lambda t: t.strftime("1970-01-01 %H:%M:%S")),
    Family.DURATION: st.integers(-(10**9), 10**10).map(values.duration_text),
    Family.LIST: st.lists(st.text(st.characters(exclude_characters=",\n\x00", exclude_categories=["Cs"]))).map(
        ",".join
    ),
    Family.TEXT: st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
}
ODD = st.one_of(
    st.text(max_size=25),
    st.sampled_from(
        [
            "2024-02-30 10:00:00",
            "2023-02-29",
            "1,234",
            "yes",
            "24:00:00",
            "NaN",
            "\uff11",
            "1\n2",
            "2024-01-01T10:00:00",
        ]
    ),
)
families = st.sampled_from(list(Family))


@st.composite
def columns(draw: st.DrawFn) -> tuple[Family, list[str]]:
    family = draw(families)
    return family, draw(st.lists(st.just("") | FITTING[family] | ODD, max_size=12))


@given(columns())
def test_a_column_is_read_like_its_values_one_by_one(sample: tuple[Family, list[str]]) -> None:
    family, texts = sample
    bad = values.misfit_at(family, texts)
    if bad:
        with pytest.raises(ValueError, match=r"valid|NUL"):
            values.column(family, texts)
        with pytest.raises(ValueError, match="not a valid"):
            values.value(family, texts[bad[0]])
    else:
        assert list(values.column(family, texts)) == [values.value(family, text) for text in texts]


@given(families.flatmap(lambda family: st.tuples(st.just(family), FITTING[family])))
def test_what_servicenow_stores_always_fits(sample: tuple[Family, str]) -> None:
    family, text = sample
    assert values.misfit_at(family, [text]) == []


@given(st.integers(-(10**9), 10**10))
def test_a_duration_survives_the_way_there_and_back(seconds: int) -> None:
    assert values.duration_seconds(values.duration_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("internal_type", "wire", "read"),
    [
        ("glide_duration", "1970-01-22 21:46:21", "P21DT21H46M21S"),
        ("glide_duration", "1970-01-01 00:02:17", "P0DT0H2M17S"),
        ("glide_duration", "1969-12-31 23:59:00", "P-0DT-0H-1M-0S"),
        ("glide_time", "1970-01-01 10:00:00", "10:00:00"),
        ("glide_date_time", "2024-05-01 10:00:00", "2024-05-01 10:00:00+00"),
        ("glide_list", "a, b,,c", '{"a","b","c"}'),
        ("glide_list", 'a"\\', '{"a\\"\\\\"}'),
        ("boolean", "1", "true"),
        ("string", "x\ny", "x\ny"),
        ("no_such_type", "x", "x"),
    ],
)
def test_examples(internal_type: str, wire: str, read: str) -> None:
    family = values.family_of(internal_type)
    assert values.value(family, wire) == read
    assert list(values.column(family, ["", wire])) == ["", read]


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (Family.DATETIME, "2024-02-30 10:00:00"),
        (Family.DATETIME, "2024-05-01"),
        (Family.DATE, "2023-02-29"),
        (Family.INTEGER, "1,234"),
        (Family.INTEGER, "\uff11"),
        (Family.DECIMAL, "NaN"),
        (Family.BOOLEAN, "yes"),
        (Family.TIME, "24:00:00"),
        (Family.DURATION, "5"),
        (Family.TEXT, "a\x00b"),
        (Family.LIST, "a\x00b"),
    ],
)
def test_what_postgres_could_not_store_is_refused(family: Family, text: str) -> None:
    assert values.misfit_at(family, ["", text, ""]) == [1]
    with pytest.raises(ValueError, match=r"valid|NUL"):
        values.column(family, ["", text])


def test_an_error_does_not_repeat_the_value() -> None:
    with pytest.raises(ValueError, match="not a valid integer") as caught:
        values.value(Family.INTEGER, "hunter2")
    assert "hunter2" not in str(caught.value)


def test_a_malformed_duration_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="duration"):
        values.duration_seconds("1970-01-01")


def test_the_epoch_is_a_duration_of_nothing() -> None:
    assert values.duration_seconds("1970-01-01 00:00:00") == 0
