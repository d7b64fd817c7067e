"""What a person typed on a form to what the write pipeline takes.

A form shows values as people read them: references by name, dates in the visitor's zone and format. Each field carries
what it showed (`sys_original.<table>.<element>`), so that only what was changed is written, and a change that someone
else made meanwhile to another column stays.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from nowtwin.accounts.users import User
from nowtwin.clock import STAMP
from nowtwin.errors import Refused
from nowtwin.http.messages import Request
from nowtwin.instance import Instance
from nowtwin.reading.display import strftime_of
from nowtwin.records.accept import SYSTEM_COLUMNS
from nowtwin.schema.dictionary import Column
from nowtwin.values import DATE_TIME_TYPES, JOURNAL_TYPES, LIST_TYPES, NUMERIC_TYPES, PASSWORD_TYPES, number_of
from nowtwin.web.reading import Cell, keys_of, label_of

_SHOWN_ONLY = PASSWORD_TYPES | {"sys_class_path", "glide_duration", "timer", "user_image", "image", "collection"}


def editable(column: Column) -> bool:
    """Whether a form offers a column for change; access rules come on top."""
    return column.element not in SYSTEM_COLUMNS and not column.read_only and column.type not in _SHOWN_ONLY


def typed(column: Column, cell: Cell) -> str:
    """The text of a field: what `stored` turns into the cell's value again."""
    if column.type in JOURNAL_TYPES:
        return ""
    by_name = column.reference or column.type in DATE_TIME_TYPES or column.type == "glide_date"
    return (cell.shown or cell.value) if by_name and cell.value else cell.value


def changes(form: Mapping[str, str], table: str, columns: Mapping[str, Column]) -> dict[str, str]:
    """Columns whose field differs from what it showed, with the typed text."""
    found: dict[str, str] = {}
    for element, column in columns.items():
        original = form.get(f"sys_original.{table}.{element}")
        if original is None or not editable(column):
            continue
        text = form.get(f"{table}.{element}", "false" if column.type == "boolean" else "")
        text = text.replace("\r\n", "\n")
        if text != original.replace("\r\n", "\n"):
            found[element] = text
    return found


def stored(instance: Instance, request: Request, column: Column, text: str) -> str:
    """The body value of a typed text. Raises Refused 400 that says what is wrong with it."""
    text = text if column.type in JOURNAL_TYPES else text.strip()
    if not text:
        return "NULL" if column.choice else ""
    if column.reference and column.type in LIST_TYPES:
        parts = (part.strip() for part in text.split(","))
        return ",".join(_key(instance, request, column, part) for part in parts if part)
    if column.reference:
        return _key(instance, request, column, text)
    if column.type in DATE_TIME_TYPES:
        return _moment(column, request.caller, text)
    if column.type == "glide_date":
        return _date(column, request.caller, text)
    if column.type in NUMERIC_TYPES and number_of(text) is None:
        raise _invalid(column, f"{text} is not a number")
    return text


def _key(instance: Instance, request: Request, column: Column, name: str) -> str:
    target = column.reference or ""
    if target not in instance.dictionary.tables:
        return name
    keys = keys_of(instance, request, target, column.reference_key, name)
    if len(keys) == 1:
        return keys[0]
    if instance.records.read(target, name) is not None or (column.type in LIST_TYPES and "@" in name):
        return name
    label = instance.dictionary.table_label(target)
    if keys:
        raise _invalid(column, f"several records of {label} display as {name}; give the sys_id")
    raise _invalid(column, f"no record of {label} displays as {name}")


def _moment(column: Column, user: User, text: str) -> str:
    form = f"{user.date_format} {user.time_format}"
    try:
        local = datetime.strptime(text, strftime_of(form)).replace(tzinfo=user.zone)
        return local.astimezone(UTC).strftime(STAMP)
    except (ValueError, OverflowError) as error:
        raise _invalid(column, f"{text} is not of the form {form}") from error


def _date(column: Column, user: User, text: str) -> str:
    try:
        return datetime.strptime(text, strftime_of(user.date_format)).replace(tzinfo=UTC).strftime("%Y-%m-%d")
    except ValueError as error:
        raise _invalid(column, f"{text} is not of the form {user.date_format}") from error


def _invalid(column: Column, reason: str) -> Refused:
    return Refused(400, "Invalid update", f"{label_of(column)}: {reason}")
