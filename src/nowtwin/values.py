"""Types of columns and the two forms of a value: the text on the wire and what the database holds.

Empty is NULL in the database and `""` on the wire. Numbers are stored as numbers so that they compare and sort as
such; everything else is text. Nothing here knows users, labels or time zones.
"""

INTEGER_TYPES = frozenset(
    {"integer", "longint", "long", "auto_increment", "order_index", "integer_date", "integer_time", "day_of_week"},
)
DECIMAL_TYPES = frozenset({"decimal", "float", "percent_complete", "currency", "price", "numeric"})
NUMERIC_TYPES = INTEGER_TYPES | DECIMAL_TYPES
DATE_TIME_TYPES = frozenset({"glide_date_time", "due_date", "calendar_date_time", "glide_utc_time", "datetime"})
DATE_TYPES = DATE_TIME_TYPES | {"glide_date"}
DURATION_TYPES = frozenset({"glide_duration", "timer"})
JOURNAL_TYPES = frozenset({"journal_input", "journal", "journal_list"})
LIST_TYPES = frozenset({"glide_list", "slushbucket"})
PASSWORD_TYPES = frozenset({"password", "password2"})
EXACT_TYPES = frozenset(
    {"GUID", "reference", "document_id", "boolean", "glide_time", "domain_id", "table_name", "sys_class_name", "char"}
    | DATE_TYPES
    | DURATION_TYPES,
)
"""Types whose stored text is compared byte for byte; the rest follow the collation."""

LARGEST = 2**63 - 1

Stored = str | int | float | None


def number_of(text: str) -> int | float | None:
    """The number a text spells, or None where there is none that the database can hold. Thousands separators are
    accepted, as in display values.
    """
    cleaned = text.strip().replace(",", "")
    try:
        whole = int(cleaned)
    except ValueError:
        pass
    else:
        return whole if abs(whole) <= LARGEST else None
    try:
        value = float(cleaned)
    except ValueError:
        return None
    return value if value - value == 0 else None  # no infinities, no NaN


def to_stored(internal_type: str, text: str) -> Stored:
    """What the database holds for a text of this type; a text that is no number stays text in a numeric column."""
    if text == "":
        return None
    if internal_type in NUMERIC_TYPES:
        number = number_of(text)
        return text if number is None else number
    if internal_type == "boolean":
        return truth_of(text)
    return text


def truth_of(text: str) -> str:
    return "true" if text.strip().lower() in {"true", "1", "yes", "on"} else "false"


def text_of(value: object) -> str:
    """The text of a JSON scalar in a request body (servicenow-api.md 1.7: numbers and booleans are accepted)."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):  # the shape a read gives: {"link": ..., "value": ...}
        return text_of(value.get("value", value.get("display_value")))
    return str(value)
