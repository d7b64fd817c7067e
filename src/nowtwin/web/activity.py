"""What happened to a record, newest first: journal entries and audited changes, of columns that the visitor may read."""

from collections.abc import Collection
from dataclasses import dataclass

from nowtwin.accounts.users import User
from nowtwin.instance import Instance
from nowtwin.query.fields import Field
from nowtwin.query.parse import parse
from nowtwin.reading.display import Displays
from nowtwin.records.selecting import Row, select
from nowtwin.web.frame import section
from nowtwin.web.markup import Html, address, link, tag
from nowtwin.web.reading import column_at, label_at

_MOST = 200
_JOURNAL = ("element", "value", "sys_created_on", "sys_created_by")
_AUDIT = ("fieldname", "oldvalue", "newvalue", "sys_created_on", "user", "record_checkpoint")


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that one user did at one time; `lines` are label, old and new text of changes, or one entry's text."""

    stamp: str
    user_name: str
    kind: str
    lines: tuple[tuple[str, str, str], ...]


class Activity:
    """The history of one record for one visitor."""

    def __init__(self, instance: Instance, user: User, table: str, readable: Collection[str]) -> None:
        self._instance = instance
        self._table = table
        self._readable = frozenset(readable)
        self._displays = Displays(instance.dictionary, instance.storage, instance.switches, user)

    def of(self, sys_id: str) -> Html:
        happenings = sorted([*self._entries(sys_id), *self._changes(sys_id)], key=lambda h: h.stamp, reverse=True)
        authors = {happening.user_name for happening in happenings} - {""}
        names = self._displays.names("sys_user", "user_name", authors) if authors else {}
        items = [self._item(h, names.get(h.user_name) or h.user_name) for h in happenings[:_MOST]]
        if not items:
            return section("Activity", tag("p", "No journal entries and no audited changes.", class_="nothing"))
        return section(f"Activity ({len(happenings)})", tag("ol", *items, class_="activity"))

    def _entries(self, sys_id: str) -> list[Happening]:
        query = parse(f"element_id={sys_id}^ORDERBYDESCsys_created_on")
        rows = select(self._instance, "sys_journal_field", query, _JOURNAL, _MOST)
        return [self._entry(row) for row in rows if row["element"] in self._readable]

    def _entry(self, row: Row) -> Happening:
        label = label_at(self._instance.dictionary, self._table, row["element"])
        return Happening(row["sys_created_on"], row["sys_created_by"], label, ((label, "", row["value"]),))

    def _changes(self, sys_id: str) -> list[Happening]:
        """Changes of one save stand together: they have time, user and checkpoint in common."""
        query = parse(f"documentkey={sys_id}^ORDERBYDESCsys_created_on")
        rows = select(self._instance, "sys_audit", query, _AUDIT, _MOST)
        saves: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            column = column_at(self._instance.dictionary, self._table, row["fieldname"])
            if column is not None and row["fieldname"] in self._readable and not column.type.startswith("journal"):
                saves.setdefault((row["sys_created_on"], row["user"], row["record_checkpoint"]), []).append(row)
        return [
            Happening(stamp, user, "Field changes", tuple(map(self._line, changed)))
            for (stamp, user, _), changed in saves.items()
        ]

    def _line(self, row: Row) -> tuple[str, str, str]:
        element = row["fieldname"]
        column = column_at(self._instance.dictionary, self._table, element)
        old, new = row["oldvalue"], row["newvalue"]
        if column is not None:
            shown = self._displays.texts(Field("", column, self._table), {old, new})
            old, new = (shown.get(old) or old if old else ""), (shown.get(new) or new if new else "")
        return label_at(self._instance.dictionary, self._table, element), old, new

    def _item(self, happening: Happening, author: str) -> Html:
        head = tag(
            "div",
            tag("b", author or "system"),
            tag("span", happening.kind, class_="kind"),
            tag("time", self._displays.date_time(happening.stamp)),
            class_="by",
        )
        if happening.kind != "Field changes":
            return tag("li", head, tag("p", happening.lines[0][2]), class_="entry")
        lines = []
        for label, old, new in happening.lines:
            was = tag("s", old) if old else None
            lines.append(tag("li", tag("span", label, class_="kind"), " ", tag("b", new or "(empty)"), " ", was))
        return tag("li", head, tag("ul", *lines))


def attachments(instance: Instance, table: str, sys_id: str) -> Html | None:
    """The files of a record; None where it has none."""
    filed = ",".join(instance.dictionary.lineage(table))
    query = parse(f"table_sys_id={sys_id}^table_nameIN{filed}^ORDERBYfile_name")
    rows = select(instance, "sys_attachment", query, ("file_name", "size_bytes"), _MOST)
    if not rows:
        return None
    files = [
        tag("li", link(r["file_name"], address("/sys_attachment.do", sys_id=r["sys_id"])), f" {r['size_bytes']} bytes")
        for r in rows
    ]
    return section(f"Attachments ({len(rows)})", tag("ul", *files, class_="files"))
