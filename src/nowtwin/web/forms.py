"""The form of a record: `/<table>.do?sys_id=...`, a new one at `sys_id=-1`; a post of the same page writes it.

A write goes the way of the Table API, so rules, access and refusals are the same; a refusal shows in words above what
was typed. The fields a post carries have the platform's names (`sys_target`, `sys_action`, `sysparm_ck`, `incident.state`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from nowtwin import errors
from nowtwin.apis import table as table_api
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request
from nowtwin.instance import Instance
from nowtwin.values import LIST_TYPES
from nowtwin.web import entry, fields
from nowtwin.web.activity import Activity, attachments
from nowtwin.web.fields import Shown
from nowtwin.web.frame import Message, folded, page, redirect
from nowtwin.web.layouts import form_sections
from nowtwin.web.markup import Child, Html, address, link, tag
from nowtwin.web.reading import EMPTY, Cell, Row, Window, known_table, label_at, names_of, read_record, read_rows
from nowtwin.web.visitor import Visitor, form_of, refuse_foreign, refuse_unproven

NEW = "-1"
_MOST_NAMES = 200
_DONE = {"update": "Record updated", "insert": "Record created"}


@dataclass(frozen=True, slots=True)
class _Form:
    """A record (or a new one) with what has been typed over it."""

    table: str
    sys_id: str
    row: Row
    typed: Mapping[str, str]
    originals: Mapping[str, str]

    @property
    def new(self) -> bool:
        return self.sys_id == NEW


def show_form(instance: Instance, request: Request, visitor: Visitor, table: str) -> Answer:
    """Raises Refused for an unknown table and for no record."""
    known_table(instance, table)
    sys_id = request.param("sys_id")
    if sys_id == NEW:
        return _page(instance, request, visitor, _blank(instance, request, table))
    if not sys_id:
        sys_id = _first(instance, request, table)
    row = read_record(instance, request, table, sys_id)
    actual = row["sys_class_name"].value if "sys_class_name" in row else table
    if actual != table and actual in instance.dictionary.tables:
        return redirect(address(f"/{actual}.do", sys_id=sys_id))
    form = _Form(table, sys_id, _displayed(instance, request, table, row), {}, {})
    return _page(instance, request, visitor, form, _reports(instance, request, table))


def _displayed(instance: Instance, request: Request, table: str, row: Row) -> Row:
    """The record as display rules leave it; what they set is shown and not stored."""
    stored = instance.read(table, row["sys_id"].value) or {}
    shown = instance.scripts.display(table, stored, request.caller).values
    changed = {e: Cell(text, text) for e, text in shown.items() if e in row and text != stored.get(e, "")}
    return {**row, **changed}


def _first(instance: Instance, request: Request, table: str) -> str:
    """The record that `sysparm_query` finds, or a new one where nothing is asked for."""
    query = request.param("sysparm_query")
    if not query:
        return NEW
    rows = read_rows(instance, request, table, query, Window(("sys_id",), 1)).rows
    if not rows:
        raise errors.no_record()
    return rows[0]["sys_id"].value


def _reports(instance: Instance, request: Request, table: str) -> list[Message]:
    """What the redirect after a write says."""
    done = _DONE.get(request.param("sysparm_done"))
    kept = [e for e in request.param("sysparm_kept").split(",") if e in instance.dictionary.columns(table)]
    messages = [Message("done", done)] if done else []
    if kept:
        labels = ", ".join(label_at(instance.dictionary, table, element) for element in kept)
        messages.append(Message("info", f"Not taken, since a rule or your rights forbid it: {labels}"))
    return messages


def _blank(instance: Instance, request: Request, table: str) -> _Form:
    """A new record: fixed defaults, and equalities of `sysparm_query` as what is typed."""
    columns = instance.dictionary.columns(table)
    hidden = instance.access.hidden_columns(request.caller, table)
    row: dict[str, Cell] = {}
    for element, column in columns.items():
        default = column.default or ""
        known = not default.startswith("javascript:")
        if element not in hidden:
            row[element] = Cell(default, default) if known else EMPTY
    terms = request.param("sysparm_query").split("^")
    pairs = (term.partition("=") for term in terms if "=" in term)
    typed = {element: text for element, _, text in pairs if element in row}
    return _Form(table, NEW, row, typed, {})


# -- the page ------------------------------------------------------------------------------------------------------


def _page(
    instance: Instance,
    request: Request,
    visitor: Visitor,
    form: _Form,
    messages: list[Message] | None = None,
    status: int = 200,
) -> Answer:
    label = instance.dictionary.table_label(form.table)
    shown = form.row.get(instance.dictionary.display_column(form.table), EMPTY)
    name = "New record" if form.new else shown.shown or shown.value or form.sys_id
    operation = "create" if form.new else "write"
    writing = not instance.access.verdict(request.caller, form.table, operation).never
    parts = _sections(instance, request, form, writing=writing)
    body: list[Child] = [
        tag(
            "div",
            tag("h1", tag("small", link(label, f"/{form.table}_list.do")), " ", name),
            _buttons(form) if writing else tag("span", "Read only", class_="kind"),
            class_="headline",
        ),
        *(tag("input", type="hidden", name=k, value=v) for k, v in _hidden(form, visitor)),
        *parts,
        fields.name_lists(_suggestions(instance, request, form)) if writing else None,
    ]
    content: list[Child] = [tag("form", *body, method="post", action=f"/{form.table}.do", class_="record")]
    if not form.new:
        content.append(attachments(instance, form.table, form.sys_id))
        content.append(Activity(instance, request.caller, form.table, form.row).of(form.sys_id))
        content.append(_delete(form, visitor) if writing else None)
    return page(f"{name} | {label}", request.caller, *content, messages=messages or (), status=status, rows=1)


def _hidden(form: _Form, visitor: Visitor) -> tuple[tuple[str, str], ...]:
    return (("sysparm_ck", visitor.token), ("sys_target", form.table), ("sys_uniqueValue", form.sys_id))


def _buttons(form: _Form) -> Html:
    action, text = ("sysverb_insert", "Submit") if form.new else ("sysverb_update", "Update")
    return tag("button", text, name="sys_action", value=action, class_="button")


def _delete(form: _Form, visitor: Visitor) -> Html:
    question = tag("p", "The record goes for good. ")
    button = tag("button", "Delete", name="sys_action", value="sysverb_delete", class_="danger")
    inputs = (tag("input", type="hidden", name=k, value=v) for k, v in _hidden(form, visitor))
    asked = tag("form", *inputs, question, button, method="post", action=f"/{form.table}.do")
    return folded("Delete this record", (asked,))


def _sections(instance: Instance, request: Request, form: _Form, *, writing: bool) -> list[Html]:
    parts: list[Html] = []
    operation = "create" if form.new else "write"
    allowed = instance.access.writable(request.caller, form.table, form.row, operation) if writing else frozenset()
    for section in form_sections(instance, form.table, form.row.keys()):
        controls = [fields.field(instance, _shown(instance, request, form, e, allowed)) for e in section.elements]
        grid = tag("div", *controls, class_="fields")
        title = tag("h2", section.title) if section.title else None
        parts.append(tag("section", title, grid) if section.opened else folded(section.title, (grid,)))
    return parts


def _shown(instance: Instance, request: Request, form: _Form, element: str, allowed: frozenset[str]) -> Shown:
    column = instance.dictionary.columns(form.table)[element]
    cell = form.row[element]
    loaded = entry.typed(column, cell)
    return Shown(
        table=form.table,
        column=column,
        cell=cell,
        text=form.typed.get(element, loaded),
        original=form.originals.get(element, loaded),
        open=element in allowed and entry.editable(column),
        date_form=f"{request.caller.date_format} {request.caller.time_format}",
    )


def _suggestions(instance: Instance, request: Request, form: _Form) -> dict[str, list[Cell]]:
    columns = instance.dictionary.columns(form.table)
    targets = {
        column.reference: column.reference_key
        for element in form.row
        if (column := columns.get(element)) and column.reference and column.type not in LIST_TYPES
    }
    names: dict[str, list[Cell]] = {}
    for target, key in targets.items():
        if target in instance.dictionary.tables:
            names[target] = names_of(instance, request, target, key, _MOST_NAMES)
    return names


# -- writing -------------------------------------------------------------------------------------------------------


def take_form(instance: Instance, request: Request, visitor: Visitor, table: str) -> Answer:
    """A posted form: the record is written, inserted or deleted, and the page after that is shown."""
    known_table(instance, table)
    refuse_foreign(request)
    form = form_of(request)
    refuse_unproven(visitor, form)
    sys_id, action = form.get("sys_uniqueValue", ""), form.get("sys_action", "")
    if action == "sysverb_delete":
        table_api.delete_record(instance, replace(request, query=(), headers={}, body=b""), table, sys_id)
        return redirect(f"/{table}_list.do")
    if action not in {"sysverb_update", "sysverb_insert"}:
        raise Refused(400, "Unknown action", "sys_action is sysverb_insert, sysverb_update or sysverb_delete.")
    typed = entry.changes(form, table, instance.dictionary.columns(table))
    try:
        if action == "sysverb_insert":
            return _insert(instance, request, table, typed)
        return _update(instance, request, table, sys_id, typed)
    except Refused as refused:
        again = _typed_over(instance, request, table, form)
        words = f"{refused.message}: {refused.detail}" if refused.detail else refused.message
        return _page(instance, request, visitor, again, [Message("error", words)], refused.status)


def _typed_over(instance: Instance, request: Request, table: str, form: Mapping[str, str]) -> _Form:
    """The record as it is, with what was typed over it."""
    new = form["sys_action"] == "sysverb_insert"
    sys_id = NEW if new else form.get("sys_uniqueValue", "")
    blank = _blank(instance, replace(request, query=()), table) if new else None
    row = blank.row if blank else read_record(instance, request, table, sys_id)
    typed, originals = {}, {}
    for element in row:
        original = form.get(f"sys_original.{table}.{element}")
        if original is not None:
            originals[element] = original
            typed[element] = form.get(f"{table}.{element}", "").replace("\r\n", "\n")
    return _Form(table, sys_id, row, typed, originals)


def _body(instance: Instance, request: Request, table: str, typed: Mapping[str, str]) -> dict[str, str]:
    columns = instance.dictionary.columns(table)
    return {element: entry.stored(instance, request, columns[element], text) for element, text in typed.items()}


def _write_request(request: Request, body: Mapping[str, str]) -> Request:
    headers = {"content-type": "application/json", "x-no-response-body": "true"}
    return replace(request, query=(), headers=headers, body=msgspec.json.encode(dict(body)))


def _insert(instance: Instance, request: Request, table: str, typed: Mapping[str, str]) -> Answer:
    body = _body(instance, request, table, typed)
    answer = table_api.insert_record(instance, _write_request(request, body), table)
    location = next(value for name, value in answer.headers if name == "Location")
    return redirect(address(f"/{table}.do", sys_id=location.rpartition("/")[2], sysparm_done="insert"))


def _update(instance: Instance, request: Request, table: str, sys_id: str, typed: Mapping[str, str]) -> Answer:
    with instance.storage.lock:
        before = instance.record(table, sys_id)
        body = _body(instance, request, table, typed)
        if body:
            table_api.update_record(instance, _write_request(request, body), table, sys_id)
        after = instance.record(before.table, sys_id)
    same = [e for e in body if after.values.get(e, "") == before.values.get(e, "")]
    journals = {e for e, c in instance.dictionary.columns(table).items() if c.type.startswith("journal")}
    kept = ",".join(e for e in same if e not in journals and _meant(body[e]) != before.values.get(e, ""))
    return redirect(address(f"/{after.table}.do", sys_id=sys_id, sysparm_done="update", sysparm_kept=kept))


def _meant(text: str) -> str:
    return "" if text == "NULL" else text
