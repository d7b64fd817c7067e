"""The Table API (servicenow-api.md 1): list, read, insert, update and delete records of any table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote_plus

from nowtwin import errors
from nowtwin.apis.ui_views import view_columns
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Headers, Request, json_answer, json_object
from nowtwin.instance import Instance
from nowtwin.permission import record as permission
from nowtwin.permission.record import insertable, readable_record, require_deletable, updatable
from nowtwin.permission.web_services import require_some_right
from nowtwin.query.parse import Clause, Query, Term, parse
from nowtwin.reading.display import Displays
from nowtwin.reading.pages import Page, Wanted
from nowtwin.reading.wire import Form, Shaped, Shaper
from nowtwin.schema.dictionary import METADATA_ROOT
from nowtwin.values import LARGEST, text_of

DEFAULT_LIMIT = 10_000
_DIGITS = 30
_NO_PAGES = (
    "Pagination is not supported for this request, since its URL is too long. Set sysparm_suppress_pagination_header "
    "to true, or raise sysparm_limit so that one page holds the result."
)


@dataclass(frozen=True, slots=True)
class Listing:
    """The window of a list request."""

    limit: int
    offset: int


def whole_number(text: str, default: int) -> int:
    """A count out of a parameter; what is not one counts as absent."""
    return min(int(text), LARGEST) if text.isdecimal() and len(text) <= _DIGITS else default


def listing_of(request: Request) -> Listing:
    limit = whole_number(request.param("sysparm_limit"), DEFAULT_LIMIT)
    return Listing(limit, whole_number(request.param("sysparm_offset"), 0))


def refuse_negative_offset(instance: Instance, request: Request) -> None:
    """A negative number is not to be passed (c_TableAPI.md); what comes of one no source says. Raises Refused 400."""
    offset = request.param("sysparm_offset").strip()
    if instance.switches.negative_offset_refused and offset.startswith("-") and whole_number(offset[1:], 0):
        raise Refused(400, "Invalid value for sysparm_offset", "sysparm_offset must not be negative")


def list_records(instance: Instance, request: Request, table: str, version: str) -> Answer:
    instance.prepare(table)
    require_some_right(instance, request.caller, table)
    refuse_negative_offset(instance, request)
    listing = _bounded(instance, table, listing_of(request))
    wanted = wanted_rows(instance, request, table, list_query(instance, request, table))
    with instance.storage.lock:
        page = _read(instance, request, wanted, listing)
        counted = not (request.flag("sysparm_no_count") and instance.switches.no_count_drops_total)
        total = instance.reader.count(wanted, instance.switches) if counted else None
        records = _shape(instance, request, table, page)
    headers: Headers = () if total is None else (("X-Total-Count", str(total)),)
    if not request.flag("sysparm_suppress_pagination_header"):
        headers += _links(instance, request, listing, total, len(page.sys_ids))
    if not records and version == "v1":
        raise errors.no_record()
    return json_answer(200, {"result": records}, headers=headers, rows=len(records))


def _bounded(instance: Instance, table: str, listing: Listing) -> Listing:
    """The window, no larger than what one query over a database view gives (10)."""
    most = instance.view_limit(table) if instance.switches.view_limit_in_web_services else None
    return listing if most is None else replace(listing, limit=min(listing.limit, most))


def read_record(instance: Instance, request: Request, table: str, sys_id: str) -> Answer:
    instance.prepare(table)
    return json_answer(200, {"result": one_record(instance, request, table, sys_id)}, rows=1)


def insert_record(instance: Instance, request: Request, table: str) -> Answer:
    instance.prepare(table)
    with instance.storage.lock:
        written = instance.records.insert(
            table,
            insertable(instance, request.caller, table, _in_global(instance, table, body_of(request))),
            request.caller,
            instance.switches,
            display_values=request.flag("sysparm_input_display_value"),
        )
        location = (("Location", f"{instance.url}/api/now/table/{table}/{written.sys_id}"),)
        if silent(request):
            return Answer(201, headers=location, content_type=None, rows=1)
        record = one_record(instance, request, table, written.sys_id, seen=True)
    return json_answer(201, {"result": record}, headers=location, rows=1)


def update_record(instance: Instance, request: Request, table: str, sys_id: str) -> Answer:
    """PUT and PATCH alike: columns that the body leaves out stay (1.1)."""
    instance.prepare(table)
    body = body_of(request)
    with instance.storage.lock:
        found = readable_record(instance, request.caller, table, sys_id)
        instance.records.update(
            found,
            updatable(instance, request.caller, found, body),
            request.caller,
            instance.switches,
            display_values=request.flag("sysparm_input_display_value"),
        )
        if silent(request):
            return Answer(204, content_type=None, rows=1)
        record = one_record(instance, request, table, sys_id, seen=True)
    return json_answer(200, {"result": record}, rows=1)


def delete_record(instance: Instance, request: Request, table: str, sys_id: str) -> Answer:
    instance.prepare(table)
    with instance.storage.lock:
        found = readable_record(instance, request.caller, table, sys_id)
        require_deletable(instance, request.caller, found)
        instance.records.delete(found, request.caller)
    return Answer(204, content_type=None, rows=1)


# -- reading -------------------------------------------------------------------------------------------------------


def list_query(instance: Instance, request: Request, table: str) -> Query:
    """`sysparm_query`, else the AND of the plain `field=value` parameters (1.2)."""
    text = request.param("sysparm_query")
    if text:
        switches = instance.switches
        return parse(text, caret_escape=switches.double_caret_escapes, join_ends_at_caret=switches.join_ends_at_caret)
    plain = [(name, value) for name, value in request.query if not name.startswith("sysparm_")]
    return Query((tuple(_equality(instance, table, name, value) for name, value in plain),))


def _equality(instance: Instance, table: str, name: str, value: str) -> Clause:
    """A plain filter takes the stored value or the display value of choices and references."""
    terms = [Term(name, "=", value)]
    column = instance.dictionary.column(table, name)
    if column and column.choice:
        labels = instance.dictionary.choice_labels(table, name, inherited=instance.switches.choices_from_parent)
        terms += [Term(name, "=", stored) for stored, label in labels.items() if label.lower() == value.lower()]
    if column and column.reference in instance.dictionary.tables and value:
        shown = instance.dictionary.display_column(column.reference or "")
        terms.append(Term(f"{name}.{shown}", "=", value))
    return tuple(terms)


def wanted_rows(instance: Instance, request: Request, table: str, query: Query) -> Wanted:
    """The rows of a query in the caller's eyes. Raises Refused 403 for a query on a column that he may not read."""
    across = request.flag("sysparm_query_no_domain")
    return permission.wanted_rows(instance, request.caller, table, query, all_domains=across)


def _read(instance: Instance, request: Request, wanted: Wanted, listing: Listing) -> Page:
    paths = _paths(instance, request, wanted.table)
    if instance.switches.dot_walks_check_records and instance.switches.access_control:
        walked = {path: instance.access.checks_on(request.caller, wanted.table, path) for path in paths if "." in path}
        checked = tuple((path, checks) for path, checks in walked.items() if checks)
        wanted = replace(wanted, conditional=(*wanted.conditional, *checked))
    return instance.reader.page(wanted, paths, instance.switches, limit=listing.limit, offset=listing.offset)


def _paths(instance: Instance, request: Request, table: str) -> Sequence[str]:
    caller = request.caller
    hidden = instance.access.hidden_columns(caller, table)
    asked = [name.strip() for name in request.param("sysparm_fields").split(",") if name.strip()]
    if not asked and request.param("sysparm_view"):
        asked = list(view_columns(instance, table, request.param("sysparm_view")))
    paths = asked or list(instance.dictionary.columns(table))
    return [
        path
        for path in dict.fromkeys(paths)
        if path not in hidden and ("." not in path or instance.access.sees_path(caller, table, path))
    ]


def one_record(
    instance: Instance, request: Request, table: str, sys_id: str, *, seen: bool = False
) -> dict[str, Shaped]:
    """One record as it goes out; with `seen` also to a caller who wrote what he may not read."""
    if instance.dictionary.column(table, "sys_id") is None:
        raise errors.no_record()
    query = Query((((Term("sys_id", "=", sys_id),),),))
    across = request.flag("sysparm_query_no_domain")
    wanted = permission.wanted_rows(instance, request.caller, table, query, queried=False, all_domains=across)
    if seen:
        wanted = replace(wanted, query=query, hidden=())
    with instance.storage.lock:
        page = _read(instance, request, wanted, Listing(1, 0))
        if not page.sys_ids:
            raise errors.no_record()
        return _shape(instance, request, table, page)[0]


def _shape(instance: Instance, request: Request, table: str, page: Page) -> list[dict[str, Shaped]]:
    display = request.param("sysparm_display_value").lower()
    display = display if display in {"true", "all"} else "false"
    form = Form(display, not request.flag("sysparm_exclude_reference_link"), instance.url)
    displays = Displays(instance.dictionary, instance.storage, instance.switches, request.caller)
    records = Shaper(form, displays, instance.dictionary, instance.storage).records(page)
    if not request.param("sysparm_fields") and not instance.dictionary.view(table):
        tags: Shaped = {"display_value": "", "value": ""} if display == "all" else ""
        for record in records:
            record.setdefault("sys_tags", tags)
    return records


# -- writing -------------------------------------------------------------------------------------------------------


def body_of(request: Request) -> Mapping[str, str]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and content_type not in {"application/json", "text/json"}:
        raise Refused(415, "Unsupported media type", f"Cannot consume content type {content_type or '(none)'}")
    return {element: text_of(value) for element, value in json_object(request.body).items()}


def _in_global(instance: Instance, table: str, body: Mapping[str, str]) -> Mapping[str, str]:
    """A new metadata record is put into scope global, whatever the body says (1.7)."""
    if METADATA_ROOT not in instance.dictionary.lineage(table):
        return body
    placed = {element: "global" for element in ("sys_scope", "sys_package") if element in body}
    return {**body, **placed}


def silent(request: Request) -> bool:
    return request.headers.get("x-no-response-body", "").lower() == "true"


# -- paging headers ------------------------------------------------------------------------------------------------


def _links(instance: Instance, request: Request, listing: Listing, total: int | None, rows: int) -> Headers:
    """The Link header of 1.4; none when one page holds everything."""
    limit, offset = listing.limit, listing.offset
    more = offset + limit < total if total is not None else rows >= limit
    if limit == 0 or (offset == 0 and not more):
        return ()
    targets = [("first", 0)]
    if offset:
        targets.append(("prev", max(0, offset - limit)))
    if more:
        targets.append(("next", offset + limit))
    if total:
        targets.append(("last", (total - 1) // limit * limit))
    kept = [(k, v) for k, v in request.query if k not in {"sysparm_limit", "sysparm_offset"}]
    base = f"{instance.url}{request.path}?" + "".join(f"{quote_plus(k)}={quote_plus(v)}&" for k, v in kept)
    if len(base) > instance.switches.pagination_url_limit:
        raise Refused(400, "Pagination not supported", _NO_PAGES)
    links = (f'<{base}sysparm_limit={limit}&sysparm_offset={at}>;rel="{name}"' for name, at in targets)
    return (("Link", ",".join(links)),)
