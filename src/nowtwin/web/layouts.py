"""Which columns a list shows, and which a form, in what order: from the layout records of the instance
(`sys_ui_list`, `sys_ui_section` and their elements), else from the shipped layouts, else a guess from the dictionary.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.selecting import Row, find, select
from nowtwin.schema.dictionary import Dictionary
from nowtwin.seeds.demo import shipped
from nowtwin.seeds.demo_content import layout_tables
from nowtwin.seeds.demo_records import Tables
from nowtwin.values import JOURNAL_TYPES, LIST_TYPES, PASSWORD_TYPES, number_of
from nowtwin.web.reading import column_at

_FAVOURED = (
    "number", "name", "short_description", "label", "title", "user_name", "element", "value", "collection", "when",
    "state", "install_status",
    "operational_status", "active", "category", "type", "assigned_to", "assignment_group", "manager", "location",
)  # fmt: skip
_LEADING = (
    "number", "name", "caller_id", "user_name", "requested_for", "category", "subcategory", "business_service",
    "cmdb_ci", "contact_type", "state", "impact", "urgency", "priority", "assignment_group", "assigned_to",
)  # fmt: skip
"""The usual order of a form; the shipped layouts are in the order of the alphabet."""
_MOST, _FEWEST = 9, 4
_PLAIN = frozenset({"string", "integer", "reference", "boolean", "choice", "glide_date_time", "decimal", "url"})


@dataclass(frozen=True, slots=True)
class Holder:
    """A kind of layout: the table of layouts, the table of their elements, the column that ties them."""

    table: str
    parts: str
    link: str


LIST = Holder("sys_ui_list", "sys_ui_list_element", "list_id")
FORM = Holder("sys_ui_section", "sys_ui_element", "sys_ui_section")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a form; one that is not `opened` shows on a click."""

    title: str
    elements: tuple[str, ...]
    opened: bool = True


def list_columns(instance: Instance, table: str) -> tuple[str, ...]:
    """The columns of the default list, dotted paths included."""
    for name in instance.dictionary.lineage(table):
        layout = [path for path in _layout(instance, LIST, name) if column_at(instance.dictionary, table, path)]
        if layout:
            return tuple(layout)
    return _guessed(instance.dictionary, table)


def _guessed(dictionary: Dictionary, table: str) -> tuple[str, ...]:
    columns = dictionary.columns(table)
    chosen = [dictionary.display_column(table), *(element for element in _FAVOURED if element in columns)]
    if len(dict.fromkeys(chosen)) < _FEWEST:
        simple = (c for c in columns.values() if c.type in _PLAIN and "sys_" not in c.element)
        chosen += [column.element for column in simple]
    chosen = list(dict.fromkeys(chosen))[: _MOST - 2]
    if dictionary.children(table):
        chosen.append("sys_class_name")
    return tuple(dict.fromkeys([*chosen, *(["sys_updated_on"] if "sys_updated_on" in columns else [])]))


def form_sections(instance: Instance, table: str, readable: Collection[str]) -> tuple[Section, ...]:
    """Every readable column of a table in exactly one section."""
    dictionary = instance.dictionary
    columns = {e: c for e, c in dictionary.columns(table).items() if e in readable}
    system = tuple(sorted(e for e in columns if e.startswith("sys_")))
    layouts = (_layout(instance, FORM, name) for name in dictionary.lineage(table))
    layout = next(filter(None, layouts), ())
    placed = [e for e in dict.fromkeys(layout) if e in columns and e not in system]
    others = [e for e in sorted(columns, key=lambda e: columns[e].label or e) if e not in placed and e not in system]
    if not placed:
        placed, others = _by_weight(dictionary, table, others)
    notes = [e for e in placed if columns[e].type in JOURNAL_TYPES | LIST_TYPES]
    closing = [e for e in placed if e.startswith(("close_", "closed_", "resolved_", "resolution_"))]
    main = [e for e in placed if e not in notes and e not in closing]
    parts = (("", main), ("Resolution", closing), ("Notes", notes))
    folded = ((f"More columns ({len(others)})", others), ("System", system))
    sections = [Section(title, _ordered(dictionary, table, elements)) for title, elements in parts]
    sections += [Section(title, _ordered(dictionary, table, elements), opened=False) for title, elements in folded]
    return tuple(section for section in sections if section.elements)


def _by_weight(dictionary: Dictionary, table: str, elements: Sequence[str]) -> tuple[list[str], list[str]]:
    """Without a layout: the table's own columns and the favoured ones first, all of a small table."""
    if len(elements) <= 3 * _MOST:
        return list(elements), []
    own = {column.element for column in dictionary.own_columns(table)}
    near = [e for e in elements if e in _FAVOURED or e in own][: 4 * _MOST]
    return near, [e for e in elements if e not in near]


def _ordered(dictionary: Dictionary, table: str, elements: Sequence[str]) -> tuple[str, ...]:
    """What leads first, what takes a whole line last."""
    places = {element: place for place, element in enumerate(_LEADING)}

    def place(element: str) -> tuple[bool, bool, int]:
        title = element == "short_description"
        return is_long(dictionary, table, element), not title, places.get(element, len(places))

    return tuple(sorted(elements, key=place))


def is_long(dictionary: Dictionary, table: str, element: str) -> bool:
    """Whether a column takes the whole width: texts of several lines, and the short description."""
    column = dictionary.column(table, element)
    if element == "short_description":
        return True
    if column is None or column.choice or column.type in PASSWORD_TYPES | LIST_TYPES:
        return False
    long_type = column.type in {"html", "script", "script_plain", "xml", "json", "multi_two_lines", "conditions"}
    return long_type or column.type in JOURNAL_TYPES or _roomy(column.max_length)


def _roomy(length: int | None) -> bool:
    return length is not None and length > 255  # noqa: PLR2004 - what ServiceNow shows as a text area


# -- layout records ------------------------------------------------------------------------------------------------


def _layout(instance: Instance, holder: Holder, table: str) -> tuple[str, ...]:
    found = find(instance, holder.table, {"name": table}, ("sys_id",))
    if found is None:
        return _shipped().get((holder.table, table), ())
    query = parse(f"{holder.link}={found['sys_id']}")
    rows = select(instance, holder.parts, query, ("element", "position"))
    return tuple(row["element"] for row in sorted(rows, key=_position) if row["element"])


def _position(row: Mapping[str, str]) -> float:
    return float(number_of(row.get("position", "")) or 0)


@cache
def _shipped() -> dict[tuple[str, str], tuple[str, ...]]:
    """Elements of the shipped layouts by holder and table."""
    tables: Tables = layout_tables(shipped("form_and_list_layouts.workarena.json"))
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for holder in (LIST, FORM):
        elements: dict[str, list[Row]] = {}
        for part in tables[holder.parts]:
            elements.setdefault(part[holder.link], []).append(part)
        for layout in tables[holder.table]:
            parts = sorted(elements[layout["sys_id"]], key=_position)
            found[holder.table, layout["name"]] = tuple(part["element"] for part in parts)
    return found
