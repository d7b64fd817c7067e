"""Requests to every route that the twin has, walked from its own route tables, so that a new one needs no line here.

Paths come out of the routes' patterns: groups that name something known (`table`, `sys_id`) are filled with what is
there and what is not, everything else with whatever the pattern allows.
"""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator

from hypothesis import strategies as st

from nowtwin import web
from nowtwin.control import routes as control
from nowtwin.serving import routes
from tests.nowtwin.inside import Wish
from tests.nowtwin.talk import basic

RECORD, NOTHING, FILE, ITEM, STAGED = ("1" * 32, "2" * 32, "3" * 32, "4" * 32, "5" * 32)
PLAIN_USER = "fuzz.user"
CODE_USER = "fuzz.code"
GUARDS = ("sys_api_access_policy", "sys_rate_limit_rules", "api_key", "oauth_entity")
"""Tables whose rows decide who gets in, and how often."""
TABLES = (
    *GUARDS,
    "incident", "task", "sys_user", "cmdb_ci", "cmdb_ci_linux_server", "alm_hardware", "sys_dictionary", "sys_choice",
    "sys_db_object", "sys_attachment", "sys_audit", "sys_metadata", "sc_cat_item", "imp_user", "no_such",
)  # fmt: skip
_SYS_IDS = (RECORD, NOTHING, FILE, ITEM, STAGED, "global", "-1")
_KNOWN = {
    "table": TABLES,
    "sys_id": _SYS_IDS,
    "class": TABLES,
    "item": (ITEM, NOTHING),
    "key": ("x", "y"),
    "rel": (RECORD, NOTHING),
}


# -- paths ---------------------------------------------------------------------------------------------------------


def filled(pattern: str) -> str:
    """The pattern with its known groups replaced by alternatives of real values."""
    parts, rest = [], pattern
    while found := re.search(r"\(\?P<(\w+)>", rest):
        end = _closing(rest, found.end())
        inside = "|".join(map(re.escape, _KNOWN[found[1]])) if found[1] in _KNOWN else rest[found.end() : end]
        parts += [rest[: found.start()], f"(?:{inside})"]
        rest = rest[end + 1 :]
    return "".join(parts) + rest


def _closing(text: str, at: int) -> int:
    depth = 1
    while depth:
        if text[at] == "\\":
            at += 1
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def plain_paths() -> set[str]:
    """One path of every route, as long as it can be: of an incident, or of whatever the route is about."""
    firsts = {name: values[0] for name, values in _KNOWN.items()} | {"table": "incident"}
    found = {*page_paths(), "/incident.do", "/incident_list.do", "/api/now/table/incident"}
    for pattern in [*(pattern.pattern for pattern, _ in routes.ROUTES), routes.TABLE.pattern]:
        path = pattern.replace("/?", "").replace("[^/]+", RECORD)
        for name, value in firsts.items():
            path = re.sub(rf"\(\?P<{name}>[^()]*\)", value, path)
        path = re.sub(r"\(\?P<\w+>", "(?:", path)
        while (shorter := re.sub(r"\(\?:([^()|]*)[^()]*\)\??", r"\1", path)) != path:
            path = shorter
        path = path.replace("/cmdb/instance/incident", "/cmdb/instance/cmdb_ci_linux_server")
        found.add(path.replace(r"\d", "1").replace(r"\.", "."))
    return found


def page_paths() -> Iterator[str]:
    """Every path that a module of the web face names as its own, besides lists and forms of tables."""
    for module in pkgutil.iter_modules(web.__path__):
        named = vars(importlib.import_module(f"nowtwin.web.{module.name}"))
        for name in ("PATH", "PATHS", "STYLE"):
            value = named.get(name, ())
            yield from (value,) if isinstance(value, str) else value if isinstance(value, frozenset) else ()


def route_paths() -> list[st.SearchStrategy[str]]:
    """One strategy per route, those of the APIs twice, the Table API more often."""
    api = 2 * [st.from_regex(re.compile(filled(pattern.pattern)), fullmatch=True) for pattern, _ in routes.ROUTES]
    api += len(api) * [st.from_regex(re.compile(filled(routes.TABLE.pattern)), fullmatch=True)]
    fixed = [st.just(path) for path in sorted({*routes.OPEN, *page_paths()})]
    pages = [st.sampled_from(TABLES).map(form.format) for form in ("/{}.do", "/{}_list.do")]
    more = [
        st.just("/"),
        st.text(max_size=12).map("/now/nav/ui/classic/params/target/{}".format),
        st.just("/nav_to.do"),
    ]
    more += [st.just("/sys_attachment.do"), st.just("/stats.do"), st.text(max_size=20).map("/{}".format)]
    return [*api, *fixed, *pages, *more]


_PATHS = route_paths()
_CONTROLS = st.sampled_from(sorted(control.ROUTES)).map(lambda route: (route[0], f"/_nowtwin/{route[1]}"))
_METHODS = st.sampled_from(
    (*["GET"] * 6, *["POST"] * 8, "PUT", "PUT", "PATCH", "PATCH", "DELETE", "DELETE", "HEAD", "OPTIONS", "BREW")
)


# -- texts and bodies ----------------------------------------------------------------------------------------------

_ODD = st.sampled_from(
    (
        "", "NULL", "true", "false", "all", "-1", "0", "1", "3", "9" * 25, "9" * 5_000, "1e999", "nan", "-0", "\x00",
        "\ud800", "a\nb", "<b>&amp;", "'", '"', "%", "^", "^^", "^NQ", "^OR", "ORDERBY", "GROUPBYstate", "active=true",
        "nameLIKEa^ORDERBYDESCname", "caller_id.name=x", "sys_idIN1,2", "javascript:gs.daysAgo(99999999999)",
        "javascript:while(1){}", "COUNT^x^>^3", "MAX^opened_at^DESC", "2025-13-45 99:99:99", "0001-01-01 00:00:00",
        "../../etc/passwd", "http://127.0.0.1/x", "//evil", RECORD, NOTHING, PLAIN_USER, "ServiceNow", *TABLES,
        "caller_id", "caller_id.company.name", "number,sys_id,nope", ",,,", "work_notes", "é😀",
    )
)  # fmt: skip
TEXTS = _ODD | st.text(max_size=16)
PARAMETERS = (
    "sysparm_query", "sysparm_fields", "sysparm_limit", "sysparm_offset", "sysparm_display_value", "sysparm_view",
    "sysparm_exclude_reference_link", "sysparm_no_count", "sysparm_suppress_pagination_header", "sysparm_tiny",
    "sysparm_query_category", "sysparm_query_no_domain", "sysparm_input_display_value", "sysparm_count",
    "sysparm_group_by", "sysparm_having", "sysparm_order_by", "sysparm_sum_fields", "sysparm_avg_fields",
    "sysparm_min_fields", "sysparm_max_fields", "sysparm_data_source", "options", "table_name", "table_sys_id",
    "file_name", "creation_time", "multi_import_set_id", "run_after", "sysparm_text", "sysparm_category", "sys_id",
    "uri", "sysparm_search", "sysparm_goto_url", "sysparm_first_row", "sysparm_type", "token", "client_id",
    "redirect_uri", "response_type", "state", "code_challenge", "x-sn-apikey", "access_token", "caller_id",
    "after", "table", "query", "application", "element", "timeout",
)  # fmt: skip
_QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS) | st.text(max_size=8), TEXTS), max_size=5).map(tuple)
_KEYS = st.sampled_from(
    (
        "short_description", "state", "caller_id", "opened_at", "work_notes", "sys_id", "sys_class_name", "active",
        "reassignment_count", "watch_list", "business_duration", "name", "element", "internal_type", "super_class",
        "items", "relations", "className", "values", "lookup", "related", "internal_id", "parent", "child", "type",
        "attributes", "source", "outbound_relations", "inbound_relations", "target", "records", "variables", "url",
        "sysparm_quantity", "file_name", "batch_request_id", "rest_requests", "id", "method", "headers", "body",
        "value", "kind", "route", "probability", "count", "rtt", "service_time", "rate", "frozen", "advance", "set",
        "table", "rows", "user_name", "password", "roles", "columns", "tables", "choices", "client_id", "elements",
        "client_secret", "access_seconds", "skew", "options", "settings", "serial_number", "model", "model_category",
    )
)  # fmt: skip
_SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.integers() | st.floats(allow_nan=False) | TEXTS
TREES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS | TEXTS, inner, max_size=4),
    max_leaves=14,
)
_ROWS = st.dictionaries(_KEYS, _SCALARS, max_size=4)
_HUGE = st.sampled_from(
    (
        b"[" * 20_000, b'{"a":' * 20_000, b"[" * 900 + b"]" * 900, b'{"state":' + b"9" * 5_000 + b"}",
        b'{"state":1e99999}', b'{"short_description":"\\ud800"}', b'{"short_description":"\\u0000"}', b"\xff\xfe{}",
        b'{"short_description":"\xed\xa0\x80"}', b"null", b"1", b'"x"', b"[]", b"[1]", b"[[]]", b'{"a":1', b"{'a':'b'}",
        b"\xef\xbb\xbf{}", b"{}{}", b'{"sys_id":' + b'"' + b"a" * 4_000 + b'"}',
    )
)  # fmt: skip
_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>
<request><entry><short_description>&d;</short_description></entry></request>"""
_OUTSIDE = b"""<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/hostname">]>
<request><entry><short_description>&x;</short_description></entry></request>"""
XML = st.sampled_from(
    (
        b"<request><entry><short_description>x</short_description></entry></request>", b"<request>", b"<a/>", b"<",
        b"<request><entry><caller_id><value>1</value></caller_id></entry></request>", _LAUGHS, _OUTSIDE,
        b"<request>" * 3_000, b"<?xml version='1.0' encoding='utf-16'?><a/>", b"<a>\x00</a>", b"<a>&nope;</a>",
        b"<record_update table='incident'><incident action='INSERT_OR_UPDATE'/></record_update>", b"<unload/>",
        b"<record_update/>", b"<unload><sys_update_xml><payload>&lt;</payload></sys_update_xml></unload>",
    )
)  # fmt: skip
_PARTS = st.sampled_from(("table_name", "table_sys_id", "uploadFile", "attachFile", "sysparm_ck", "x\r\ny", '"', ""))


def _multipart(fields: dict[str, str]) -> bytes:
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.zip"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    )
    return f"{parts}--x--\r\n".encode(errors="replace")


def _form(fields: dict[str, str]) -> bytes:
    return "&".join(f"{name}={text}" for name, text in fields.items()).encode(errors="replace")


_FORM_KEYS = st.sampled_from(
    (
        "grant_type", "client_id", "client_secret", "username", "password", "refresh_token", "code", "redirect_uri",
        "assertion", "code_verifier", "token", "user_name", "user_password", "sysparm_ck", "sys_action",
        "sysparm_processor", "sysparm_function", "sysparm_sys_id", "sys_uniqueValue",
    )
)  # fmt: skip
_FORM_VALUES = TEXTS | st.sampled_from(
    (
        "password", "refresh_token", "client_credentials", "authorization_code",
        "urn:ietf:params:oauth:grant-type:jwt-bearer", "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "nowtwin-secret", "admin",
        "eyJhbGciOiJub25lIn0.e30.", "a.b.c",
    )
)  # fmt: skip
_JSON = (TREES | _ROWS).map(lambda value: json.dumps(value).encode())
_RECORDS = _ROWS.map(lambda row: json.dumps(row).encode())
_ITEMS = st.fixed_dictionaries(
    {"className": st.sampled_from(TABLES), "values": _ROWS},
    optional={
        "lookup": TREES,
        "related": TREES,
        "internal_id": TEXTS,
        "settings": TREES,
        "sys_object_source_info": TREES,
    },
)
_PAYLOADS = st.fixed_dictionaries(
    {"items": st.lists(_ITEMS, max_size=3)},
    optional={
        "relations": st.lists(st.dictionaries(_KEYS, st.integers(-1, 2) | TEXTS, max_size=3), max_size=2),
        "attributes": _ROWS,
        "source": st.just("ServiceNow"),
        "records": st.lists(_ROWS, max_size=2),
    },
).map(lambda value: json.dumps(value).encode())
_BATCHES = st.fixed_dictionaries(
    {
        "batch_request_id": _SCALARS,
        "rest_requests": st.lists(
            st.fixed_dictionaries(
                {"id": st.sampled_from(("1", "2", "")), "method": _METHODS},
                optional={
                    "url": st.one_of(
                        st.sampled_from(TABLES).map("/api/now/table/{}?sysparm_limit=1".format),
                        st.just("/api/now/v1/batch"),
                        st.just("/oauth_token.do"),
                        TEXTS,
                    ),
                    "headers": st.lists(
                        st.fixed_dictionaries({"name": st.just("Content-Type"), "value": st.just("application/json")}),
                        max_size=2,
                    ),
                    "body": st.sampled_from(("", "e30=", "eyJzdGF0ZSI6Int9In0=", "%%%", "W10=")) | _SCALARS,
                    "exclude_response_headers": _SCALARS,
                },
            ),
            max_size=3,
        ),
    },
).map(lambda value: json.dumps(value).encode())
_PLAIN_JSON = st.tuples(st.just("application/json"), st.one_of(_RECORDS, _JSON, _PAYLOADS, _BATCHES))
_CONTENTS = st.one_of(
    st.tuples(st.just("application/json"), _JSON | _HUGE | _BATCHES),
    st.tuples(st.sampled_from(("application/xml", "text/xml")), XML | st.binary(max_size=30)),
    st.tuples(
        st.sampled_from(("multipart/form-data; boundary=x", "multipart/form-data", "multipart/form-data; boundary=")),
        st.dictionaries(_PARTS, TEXTS, max_size=3).map(_multipart) | st.binary(max_size=40),
    ),
    st.tuples(
        st.just("application/x-www-form-urlencoded"),
        st.dictionaries(_FORM_KEYS, _FORM_VALUES, max_size=6).map(_form) | st.binary(max_size=40),
    ),
    st.tuples(st.sampled_from(("", "text/plain", "application/octet-stream", "é;;;", "/")), st.binary(max_size=60)),
)


# -- who asks, and how ---------------------------------------------------------------------------------------------

ADMIN = ("Authorization", basic("admin", "admin"))
_CALLERS = st.sampled_from(
    (
        *[(ADMIN,)] * 30, *[(("Authorization", basic(PLAIN_USER, "secret")),)] * 10, (),
        (("Authorization", basic("admin", "wrong")),),
        (("Authorization", basic(CODE_USER, "secret")),), (("Authorization", basic(CODE_USER, "secret1")),),
        (("Authorization", "Basic %%%"),), (("Authorization", "Basic w4M="),), (("Authorization", "Basic"),),
        (("Authorization", "Bearer nothing"),), (("Authorization", "Digest x"),), (("Cookie", "JSESSIONID=x; =;"),),
        (("x-sn-apikey", "now_nothing"),), (ADMIN, ("Cookie", "glide_user_route=glide.x; JSESSIONID=")),
    )
)  # fmt: skip
_ACCEPTS = st.sampled_from(
    (
        *["application/json"] * 20, *["application/xml"] * 3, "*/*", "", "text/html", "multipart/mixed", "q=,;,", "a" * 300,
    )
)  # fmt: skip
_HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just("X-HTTP-Method-Override"), _METHODS | st.just("")),
        st.tuples(st.just("X-no-response-body"), st.sampled_from(("true", "x"))),
        st.tuples(st.just("X-WantSessionDebugMessages"), st.just("true")),
        st.tuples(st.just("X-BATCHREQUEST-MAX-OUTPUT-SIZE"), st.sampled_from(("1", "x", "-5", "9" * 30))),
        st.tuples(st.just("Accept-Encoding"), st.sampled_from(("gzip", "br, gzip;q=0", "x"))),
        st.tuples(st.just("X-UserToken"), st.sampled_from(("", "x", "é"))),
        st.tuples(st.just("Host"), st.sampled_from(("", "evil.example", "127.0.0.1:1"))),
    ),
    max_size=3,
).map(tuple)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """A request to some route of the twin; more often than not a body of JSON, as most of them want."""
    if draw(st.integers(0, 5)) == 0:
        method, path = draw(_CONTROLS)
        method = draw(st.just(method) | _METHODS)
    else:
        method, path = draw(_METHODS), draw(_PATHS[draw(st.integers(0, len(_PATHS) - 1))])
    content_type, body = draw(_CONTENTS if draw(st.integers(0, 2)) == 0 else _PLAIN_JSON)
    headers = (*draw(_CALLERS), ("Accept", draw(_ACCEPTS)), ("Content-Type", content_type), *draw(_HEADERS))
    return Wish(method, path, draw(_QUERIES), headers, body)
