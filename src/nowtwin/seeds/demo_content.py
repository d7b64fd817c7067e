"""Knowledge articles, catalogue items, the application menu and the layouts, as rows of the tables that hold them.

Four shipped files, four pure functions from the parsed file to rows by table. The files hold what an instance showed,
not its rows, so relations are rebuilt by name: an article in its knowledge base, a variable on its item, a module in
its application.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from nowtwin.seeds.demo_records import Tables
from nowtwin.seeds.references import CREATED_ON, Row, seeded
from nowtwin.seeds.sys_ids import sys_id_of

_FIRST_ARTICLE: Final = 10_001
# item_option_new.type of a stock instance.
_VARIABLE_TYPES: Final[Mapping[str, str]] = {"textarea": "2", "radio": "3", "checkbox": "7"}
_CLASSIC: Final = "/now/nav/ui/classic/params/target/"
_LIST: Final = re.compile(r"([a-z0-9_]+)_list\.do(?:\?|$)")
_MODULE_SYS_ID: Final = re.compile(r"sysparm_userpref_module=([0-9a-f]{32})")
# Layout files name what a person sees; these are the tables.
_LAYOUT_TABLES: Final[Mapping[str, str]] = {
    "asset": "alm_asset",
    "change_request": "change_request",
    "expense_line": "fm_expense_line",
    "hardware": "alm_hardware",
    "incident": "incident",
    "problem": "problem",
    "request_item": "sc_req_item",
    "requested_items": "sc_req_item",
    "service_catalog": "sc_cat_item",
    "user": "sys_user",
}


def _row(table: str, key: str, values: Mapping[str, str]) -> Row:
    return seeded(sys_id_of(table, key), values)


def knowledge_tables(articles: Mapping[str, Sequence[Mapping[str, Any]]], author: str) -> Tables:
    """`{"articles": […], "protocols": […]}` with `item` (a title) and `article` (HTML); `author` is a sys_id."""
    bases = {"articles": "General Knowledge", "protocols": "Company Protocols"}
    tables: Tables = {
        "kb_knowledge_base": [
            _row("kb_knowledge_base", title, {"title": title, "active": "true", "owner": author})
            for title in bases.values()
        ],
        "kb_knowledge": [],
    }
    entries = [(bases[kind], entry) for kind in bases for entry in articles[kind]]
    for number, (base, entry) in enumerate(entries, start=_FIRST_ARTICLE):
        tables["kb_knowledge"].append(_article(f"KB{number:07d}", base, entry, author))
    return tables


def _article(number: str, base: str, entry: Mapping[str, Any], author: str) -> Row:
    title = entry["item"]
    return _row(
        "kb_knowledge",
        number,
        {
            "number": number,
            "display_number": f"{number} v1.0",
            "short_description": title[:1].upper() + title[1:],
            "text": entry["article"],
            "kb_knowledge_base": sys_id_of("kb_knowledge_base", base),
            "author": author,
            "article_type": "text",
            "workflow_state": "published",
            "published": CREATED_ON[:10],
            "valid_to": "2100-01-01",
            "active": "true",
            "latest": "true",
            "sys_domain": "global",
            "sys_domain_path": "/",
        },
    )


def catalog_tables(items: Sequence[Mapping[str, Any]]) -> Tables:
    """Catalogue items with their variables; only radio buttons have choices of their own."""
    catalog, category = sys_id_of("sc_catalog", "Service Catalog"), sys_id_of("sc_category", "Hardware")
    tables: Tables = {
        "sc_catalog": [seeded(catalog, {"title": "Service Catalog", "active": "true"})],
        "sc_category": [seeded(category, {"title": "Hardware", "active": "true", "sc_catalog": catalog})],
        "sc_cat_item": [],
        "item_option_new": [],
        "question_choice": [],
    }
    for item in items:
        name = item["item"]
        values = {
            "name": name,
            "short_description": item["description"],
            "active": "true",
            "sc_catalogs": catalog,
            "category": category,
            "type": "item",
        }
        tables["sc_cat_item"].append(_row("sc_cat_item", name, values))
        for order, variable in enumerate(item["variables"], start=1):
            tables["item_option_new"].append(_variable(name, order, variable))
            tables["question_choice"].extend(_variable_choices(name, variable))
    return tables


def _variable(item: str, order: int, variable: Mapping[str, Any]) -> Row:
    question = variable["name"]
    return _row(
        "item_option_new",
        f"{item} {question}",
        {
            "name": re.sub(r"\W+", "_", question.lower()).strip("_"),
            "question_text": question,
            "type": _VARIABLE_TYPES[variable["types"][0]],
            "order": str(order * 100),
            "cat_item": sys_id_of("sc_cat_item", item),
            "mandatory": "false",
            "active": "true",
        },
    )


def _variable_choices(item: str, variable: Mapping[str, Any]) -> Iterator[Row]:
    if variable["types"][0] != "radio":
        return
    question = f"{item} {variable['name']}"
    for order, text in enumerate(variable["options"], start=1):
        values = {
            "question": sys_id_of("item_option_new", question),
            "text": text,
            "value": re.sub(r"\W+", "_", text.lower()),
            "order": str(order * 100),
            "inactive": "false",
        }
        yield _row("question_choice", f"{question} {text}", values)


def menu_tables(modules: Sequence[Mapping[str, str]]) -> Tables:
    """Applications and modules; `A > B` is module B below the separator A."""
    tables: Tables = {"sys_app_application": [], "sys_app_module": []}
    seen: set[str] = set()
    for order, entry in enumerate(modules, start=1):
        application = entry["application"]
        if application not in seen:
            seen.add(application)
            values = {"title": application, "active": "true", "order": str(order)}
            tables["sys_app_application"].append(_row("sys_app_application", application, values))
        section, _, title = entry["module"].rpartition(" > ")
        if section and f"{application} {section}" not in seen:
            seen.add(f"{application} {section}")
            tables["sys_app_module"].append(_module(application, section, order, "SEPARATOR"))
        tables["sys_app_module"].append(_linked_module(application, title, order, entry["url"]))
    return tables


def _linked_module(application: str, title: str, order: int, url: str) -> Row:
    target = unquote(url.removeprefix(_CLASSIC))
    listed = _LIST.match(target)
    module = _module(application, title, order, "LIST" if listed else "DIRECT")
    shown = dict(parse_qsl(target.partition("?")[2])).get("sysparm_query", "")
    module |= {"name": listed[1]} if listed else {"query": target}
    module |= {"filter": shown} if listed and shown else {}
    own = _MODULE_SYS_ID.search(target)
    module["sys_id"] = own[1] if own else sys_id_of("sys_app_module", f"{application} {title} {order}")
    return module


def _module(application: str, title: str, order: int, link_type: str) -> Row:
    values = {
        "title": title,
        "application": sys_id_of("sys_app_application", application),
        "link_type": link_type,
        "order": str(order),
        "active": "true",
    }
    return _row("sys_app_module", f"{application} {title}", values)


def layout_tables(layouts: Mapping[str, Sequence[str]]) -> Tables:
    """The default form and list of each table, as sections and lists with their elements."""
    view = sys_id_of("sys_ui_view", "Default view")
    tables: Tables = {
        "sys_ui_view": [seeded(view, {"title": "Default view"})],
        "sys_ui_section": [],
        "sys_ui_element": [],
        "sys_ui_list": [],
        "sys_ui_list_element": [],
    }
    for name, elements in layouts.items():
        is_form = name.endswith("_form_fields")
        subject = name.removeprefix("expected_").removesuffix("_form_fields").removesuffix("_list_columns")
        table = _LAYOUT_TABLES[subject]
        holder, part, link = (
            ("sys_ui_section", "sys_ui_element", "sys_ui_section")
            if is_form
            else ("sys_ui_list", "sys_ui_list_element", "list_id")
        )
        tables[holder].append(_row(holder, table, {"name": table, "view": view}))
        tables[part].extend(
            _row(
                part,
                f"{table} {element}",
                {link: sys_id_of(holder, table), "element": element, "position": str(position)},
            )
            for position, element in enumerate(elements)
        )
    return tables
