"""Pages of stored texts to the JSON records of the Table API: the three display shapes, references with links,
journals (servicenow-api.md 1.3). Works column by column, shaping each distinct value once.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nowtwin.query.fields import Field
from nowtwin.reading.currencies import MONEY
from nowtwin.reading.display import Displays
from nowtwin.reading.pages import Page
from nowtwin.schema.dictionary import Dictionary
from nowtwin.storage.rows import Storage
from nowtwin.values import JOURNAL_TYPES, LIST_TYPES

Shaped = str | None | dict[str, str | None]
_CHUNK = 900


@dataclass(frozen=True, slots=True)
class Form:
    """How values are asked for: `display` is `false`, `true` or `all`."""

    display: str
    links: bool
    base: str
    """The instance's URL, which links start with."""


class Shaper:
    def __init__(self, form: Form, displays: Displays, dictionary: Dictionary, storage: Storage) -> None:
        self._form = form
        self._displays = displays
        self._dictionary = dictionary
        self._storage = storage

    def records(self, page: Page) -> list[dict[str, Shaped]]:
        columns = [
            self._column(key, field, texts, page.sys_ids)
            for key, field, texts in zip(page.keys, page.fields, page.columns, strict=True)
        ]
        if not columns:
            return [{} for _ in page.sys_ids]
        records = [dict(zip(page.keys, row, strict=True)) for row in zip(*columns, strict=True)]
        for key, granted in page.granted.items():
            for record, shown in zip(records, granted, strict=True):
                if not shown:
                    del record[key]
        return records

    def _column(self, key: str, field: Field, texts: Sequence[str], sys_ids: Sequence[str]) -> Sequence[Shaped]:
        reference = field.column.reference if field.column.type not in LIST_TYPES else None
        if field.column.type == "currency2" and self._form.display == "false":
            return [self._displays.currency2(text) for text in texts]
        if self._form.display == "false":
            if reference is None or not self._form.links:
                return texts
            link = self._linker(field, reference)
            shaped: dict[str, Shaped] = {
                text: {"link": link(text), "value": text} if text else "" for text in set(texts)
            }
            return [shaped[text] for text in texts]
        if field.column.type in JOURNAL_TYPES and "." not in key:
            history = self._histories(field.column.element, sys_ids)
            whole = self._form.display == "all"
            return [{"display_value": history[i], "value": ""} if whole else history[i] for i in sys_ids]
        shape = self._all if self._form.display == "all" else self._true
        shaped = shape(field, reference, set(texts))
        return [shaped[text] for text in texts]

    def _true(self, field: Field, reference: str | None, texts: set[str]) -> dict[str, Shaped]:
        shown = self._displays.texts(field, texts)
        if reference is None or not self._form.links:
            return {text: shown[text] for text in texts}
        link = self._linker(field, reference)
        return {text: {"display_value": shown[text], "link": link(text)} if text else "" for text in texts}

    def _all(self, field: Field, reference: str | None, texts: set[str]) -> dict[str, Shaped]:
        shown = self._displays.texts(field, texts)
        shaped: dict[str, Shaped] = {}
        for text in texts:
            cell: dict[str, str | None] = {"display_value": shown[text]}
            if text and field.column.type in MONEY:
                cell["currency_display_value"] = self._displays.with_currency(text)
            if text and reference and self._form.links:
                cell["link"] = self._linker(field, reference)(text)
            cell["value"] = self._displays.currency2(text) if field.column.type == "currency2" else text
            shaped[text] = cell
        return shaped

    def _linker(self, field: Field, reference: str) -> Callable[[str], str]:
        base = f"{self._form.base}/api/now/table/{reference}"
        if field.column.reference_key == "sys_id":
            return lambda text: f"{base}/{text}"
        return lambda text: f"{base}?{field.column.reference_key}={text}"

    # -- journals ----------------------------------------------------------------------------------------------

    def _histories(self, element: str, sys_ids: Sequence[str]) -> Mapping[str, str]:
        """The entries of each record, newest first, as the platform concatenates them."""
        self._storage.ensure("sys_journal_field", ("element", "element_id", "value", "sys_created_by"))
        elements = ("comments", "work_notes") if element == "comments_and_work_notes" else (element,)
        entries: list[tuple[str, ...]] = []
        for start in range(0, len(sys_ids), _CHUNK):
            chunk = sys_ids[start : start + _CHUNK]
            sql = (
                "SELECT element_id, element, ifnull(value, ''), sys_created_on, ifnull(sys_created_by, '') "  # noqa: S608 - only marks are formatted in
                f"FROM sys_journal_field WHERE element_id IN ({', '.join('?' * len(chunk))}) "
                f"AND element IN ({', '.join('?' * len(elements))}) ORDER BY sys_created_on DESC, rowid DESC"
            )
            entries.extend(tuple(map(str, row)) for row in self._storage.rows(sql, (*chunk, *elements)))
        names = self._displays.names("sys_user", "user_name", {entry[4] for entry in entries if entry[4]})
        histories: dict[str, str] = defaultdict(str)
        for sys_id, name, text, stamp, author in entries:
            label = name.replace("_", " ").capitalize()
            who = names.get(author) or author
            histories[sys_id] += f"{self._displays.date_time(stamp)} - {who} ({label})\n{text}\n\n"
        return {sys_id: histories.get(sys_id, "") for sys_id in sys_ids}
