from zoneinfo import ZoneInfo

import pytest

from nowtwin.seeds import display_values

PACIFIC = ZoneInfo("America/Los_Angeles")


@pytest.mark.parametrize(
    ("shown", "stored"),
    [
        ("2023-07-09 16:09:51", "2023-07-09 23:09:51"),  # daylight saving: seven hours
        ("2022-12-19 00:00:00", "2022-12-19 08:00:00"),  # winter: eight
        ("2023-11-05 01:30:00", "2023-11-05 08:30:00"),  # the hour that comes twice: the first
        ("2016-12-31 20:00:00", "2017-01-01 04:00:00"),  # the year turns
        ("UNKNOWN", ""),
        ("", ""),
    ],
)
def test_a_date_time_shown_in_pacific_time_is_stored_in_utc(shown: str, stored: str) -> None:
    assert display_values.date_time(shown, PACIFIC) == stored


@pytest.mark.parametrize(
    ("shown", "stored"),
    [
        ("21 Days 21 Hours 46 Minutes", "1970-01-22 21:46:00"),
        ("89 Days 7 Minutes", "1970-03-31 00:07:00"),
        ("114 Days 1 Hour 54 Minutes", "1970-04-25 01:54:00"),
        ("16801 Days", "2016-01-01 00:00:00"),
        ("1 Day", "1970-01-02 00:00:00"),
        ("0 Seconds", "1970-01-01 00:00:00"),
        ("", ""),
    ],
)
def test_a_duration_in_words_is_stored_as_a_time_after_1970(shown: str, stored: str) -> None:
    assert display_values.duration(shown) == stored


@pytest.mark.parametrize(
    ("internal_type", "shown", "stored"),
    [
        ("integer", "7,937,181", "7937181"),
        ("integer", "-1", "-1"),
        ("integer", "(2)", "2"),
        ("currency", "$2,499.99", "2499.99"),
        ("price", "$0.00", "0.00"),
        ("decimal", "1,234.50", "1234.50"),
        ("boolean", "true", "true"),
        ("glide_date", "2024-03-11", "2024-03-11"),
        ("due_date", "UNKNOWN", ""),
        ("user_image", "ee4eebf30a0004d963b5c5ac0d734dc4.iix", "ee4eebf30a0004d963b5c5ac0d734dc4"),
        ("string", "UNKNOWN", "UNKNOWN"),
        ("string", "$5", "$5"),
    ],
)
def test_a_shown_value_is_stored_in_the_form_of_its_type(internal_type: str, shown: str, stored: str) -> None:
    assert display_values.stored_value(internal_type, shown, PACIFIC) == stored


@pytest.mark.parametrize(
    ("internal_type", "shown"),
    [
        ("glide_date_time", "9 July 2023"),
        ("glide_date", "2023-07-09 16:09:51"),
        ("glide_duration", "three days"),
        ("glide_duration", "3 Days and 1 Hour"),
        ("integer", "many"),
        ("currency", "free"),
        ("boolean", "maybe"),
    ],
)
def test_a_text_without_the_form_of_its_type_is_refused(internal_type: str, shown: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        display_values.stored_value(internal_type, shown, PACIFIC)


def test_a_label_becomes_its_value_and_an_unlisted_value_loses_its_brackets() -> None:
    labels = {"Awaiting Caller": "1"}
    assert display_values.choice("Awaiting Caller", labels) == "1"
    assert display_values.choice("(2)", labels) == "2"
    assert display_values.choice("broken", labels) == "broken"
