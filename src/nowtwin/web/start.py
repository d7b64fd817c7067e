"""The start page: the most used tables, and a search over modules (`sys_app_module`), tables and record numbers."""

import re

from nowtwin.apis.table import wanted_rows
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Request
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.selecting import Row, select
from nowtwin.web.frame import folded, page, redirect, section
from nowtwin.web.markup import Child, Html, address, link, tag
from nowtwin.web.own_paths import own_path

_FAVOURITES = (
    "incident", "problem", "change_request", "sc_req_item", "sc_task", "kb_knowledge", "sys_user", "sys_user_group",
    "cmdb_ci", "alm_asset", "sys_script", "sys_properties",
)  # fmt: skip
_MODULE = ("title", "application", "link_type", "name", "filter", "query", "order")
_MOST_TABLES = 60
_NUMBER = re.compile(r"[A-Za-z]{2,8}\d{4,12}")


def show_start(instance: Instance, request: Request) -> Answer:
    wanted = request.param("sysparm_search").strip()
    if _NUMBER.fullmatch(wanted) and (found := _record_address(instance, request, wanted)):
        return redirect(found)
    modules = _modules(instance, wanted)
    if wanted:
        tables = _tables(instance, wanted)
        title = f"Search: {wanted}"
        return page(title, request.caller, tag("h1", title), section("Tables", tables), section("Modules", modules))
    favourites = tag("ul", *_favourites(instance, request), class_="cards")
    return page("Start", request.caller, tag("h1", "Start"), favourites, section("All modules", modules))


def _record_address(instance: Instance, request: Request, number: str) -> str | None:
    query = parse(f"number={number}")
    page_ = instance.reader.page(wanted_rows(instance, request, "task", query), (), instance.switches, limit=1)
    return address("/task.do", sys_id=page_.sys_ids[0]) if page_.sys_ids else None


def _favourites(instance: Instance, request: Request) -> list[Html]:
    cards = []
    for table in _FAVOURITES:
        if table not in instance.dictionary.tables:
            continue
        instance.prepare(table)
        count = _count(instance, request, table)
        label = instance.dictionary.table_label(table)
        shown = tag("b", "" if count is None else f"{count:,}")
        cards.append(tag("li", tag("a", tag("span", label), shown, href=f"/{table}_list.do")))
    return cards


def _count(instance: Instance, request: Request, table: str) -> int | None:
    """How many records there are; unknown to who may not read the table."""
    if instance.access.verdict(request.caller, table, "read").never:
        return None
    try:
        return instance.reader.count(wanted_rows(instance, request, table, parse("")), instance.switches)
    except Refused:
        return None


def _tables(instance: Instance, wanted: str) -> Html:
    lowered = wanted.lower()
    label = instance.dictionary.table_label
    found = [name for name in instance.dictionary.tables if lowered in name or lowered in label(name).lower()]
    found.sort(key=lambda name: (not label(name).lower().startswith(lowered), len(name), name))
    if not found:
        return tag("p", "No table of this name or label.", class_="nothing")
    items = [tag("li", link(label(name), f"/{name}_list.do"), " ", tag("code", name)) for name in found[:_MOST_TABLES]]
    rest = tag("li", f"and {len(found) - _MOST_TABLES} more", class_="kind") if len(found) > _MOST_TABLES else None
    return tag("ul", *items, rest, class_="links")


def _modules(instance: Instance, wanted: str) -> Html:
    """Modules by application; with a search only those whose title or application has it."""
    applications = {
        row["sys_id"]: row["title"] for row in select(instance, "sys_app_application", parse(""), ("title",))
    }
    rows = select(instance, "sys_app_module", parse("active=true^ORDERBYorder"), _MODULE)
    lowered = wanted.lower()
    groups: dict[str, list[Html]] = {}
    for row in rows:
        application = applications.get(row["application"], "Other")
        if lowered in row["title"].lower() or lowered in application.lower():
            groups.setdefault(application, []).append(tag("li", _module(row)))
    if not groups:
        return tag("p", "No modules.", class_="nothing")
    parts = [
        folded(name, (tag("ul", *items, class_="links"),), opened=bool(wanted))
        for name, items in sorted(groups.items())
    ]
    return tag("div", *parts, class_="modules")


def _module(row: Row) -> Child:
    title, kind = row["title"], row["link_type"]
    if kind == "SEPARATOR":
        return tag("b", title)
    target = address(f"/{row['name']}_list.do", sysparm_query=row["filter"]) if kind == "LIST" else row["query"]
    href = own_path(target)
    return link(title, href) if href else tag("span", title, class_="kind")
