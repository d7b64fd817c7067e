"""One column on a form: its label with a control to change it, or its value where it cannot be changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nowtwin.instance import Instance
from nowtwin.schema.dictionary import Choice, Column, Dictionary
from nowtwin.values import DATE_TIME_TYPES, JOURNAL_TYPES, LIST_TYPES
from nowtwin.web.layouts import is_long
from nowtwin.web.lists import reference_address
from nowtwin.web.markup import Child, Html, link, tag
from nowtwin.web.reading import Cell, label_of

_CODE = frozenset({"script", "script_plain", "xml", "json", "conditions", "html"})


@dataclass(frozen=True, slots=True)
class Shown:
    """A column as a form holds it. `text` is what the field shows now; `original` what it was loaded with."""

    table: str
    column: Column
    cell: Cell
    text: str
    original: str
    open: bool
    """The visitor may change it."""
    date_form: str

    @property
    def name(self) -> str:
        return f"{self.table}.{self.column.element}"


def field(instance: Instance, shown: Shown) -> Html:
    """The label and what is beside it."""
    column = shown.column
    mark = tag("span", "*", class_="mandatory", title="Mandatory") if column.mandatory else None
    label = tag("label", label_of(column), mark, for_=shown.name, title=column.hint)
    wide = is_long(instance.dictionary, shown.table, column.element)
    if not shown.open:
        return tag("div", label, _fixed(instance, shown), class_="field wide" if wide else "field")
    original = tag("input", type="hidden", name=f"sys_original.{shown.name}", value=shown.original)
    control = tag("div", _control(instance, shown, wide=wide), _opener(instance, shown), original, class_="control")
    return tag("div", label, control, class_="field wide" if wide else "field")


def _fixed(instance: Instance, shown: Shown) -> Html:
    text = shown.cell.shown or shown.cell.value
    href = reference_address(instance, shown.table, shown.column.element, shown.cell.value)
    content: Child = link(text, href) if href and text else text
    return tag("div", content, class_="fixed code" if shown.column.type in _CODE else "fixed", id=shown.name)


def _opener(instance: Instance, shown: Shown) -> Html | None:
    """The link to the record that a reference points at."""
    href = reference_address(instance, shown.table, shown.column.element, shown.cell.value)
    return link("↗", href, class_="opener", aria_label=f"Open {label_of(shown.column)}") if href else None


def _control(instance: Instance, shown: Shown, *, wide: bool) -> Html:
    column = shown.column
    if column.type == "boolean":
        ticked = shown.text == "true"
        return tag("input", type="checkbox", id=shown.name, name=shown.name, value="true", checked=ticked)
    choices = instance.dictionary.choices(shown.table, column.element)
    if column.choice in {1, 3} and choices:
        return _select(instance.dictionary, shown, choices)
    if (wide and column.element != "short_description") or column.type in _CODE:
        rows = "8" if column.type in _CODE else "3"
        # A parser drops a newline that follows the start tag, so one is put there to be dropped.
        style = "code" if column.type in _CODE else None
        return tag("textarea", f"\n{shown.text}", id=shown.name, name=shown.name, rows=rows, class_=style)
    return _input(shown)


def _input(shown: Shown) -> Html:
    column = shown.column
    dated = column.type in DATE_TIME_TYPES or column.type == "glide_date"
    listed = column.reference if column.type not in LIST_TYPES | JOURNAL_TYPES else None
    length = column.max_length if column.type == "string" and not column.choice else None
    return tag(
        "input",
        id=shown.name,
        name=shown.name,
        value=shown.text,
        placeholder=shown.date_form if dated else None,
        list=f"names.{listed}" if listed else None,
        maxlength=str(length) if length and length >= len(shown.text) else None,
        autocomplete="off",
    )


def _select(dictionary: Dictionary, shown: Shown, choices: Sequence[Choice]) -> Html:
    offered = [c for c in choices if not c.inactive or c.value == shown.text]
    offered.sort(key=lambda c: (c.sequence is None, c.sequence or 0))
    options: list[Html] = []
    if shown.column.choice == 1 or not shown.text:
        options.append(tag("option", "-- None --", value=""))
    if shown.text and all(choice.value != shown.text for choice in offered):
        options.append(tag("option", f"({shown.text})", value=shown.text, selected=True))
    groups: dict[str, list[Choice]] = {}
    for choice in offered:
        groups.setdefault(choice.dependent_value, []).append(choice)
    names = dictionary.choice_labels(shown.table, shown.column.dependent or "")
    for dependent, members in groups.items():
        entries = _options(members, shown.text)
        options += [tag("optgroup", *entries, label=names.get(dependent, dependent))] if dependent else entries
    return tag("select", *options, id=shown.name, name=shown.name)


def _options(choices: Sequence[Choice], chosen: str) -> list[Html]:
    unique: Mapping[str, Choice] = {choice.value: choice for choice in reversed(choices)}
    kept = [choice for choice in choices if unique[choice.value] is choice]
    return [tag("option", c.label, value=c.value, selected=c.value == chosen) for c in kept]


def name_lists(names: Mapping[str, Sequence[Cell]]) -> Html:
    """Suggestions for the references of a form, one list per table."""
    lists = [
        tag("datalist", *(tag("option", value=cell.shown) for cell in cells), id=f"names.{table}")
        for table, cells in names.items()
    ]
    return tag("div", *lists, hidden=True)
