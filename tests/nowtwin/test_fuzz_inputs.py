"""Encoded queries, scripts, seed files and update sets out of grammars and bent at random: each is taken or refused in
words, and the instance goes on answering.
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.seeds import load_file
from tests.nowtwin import fuzzed_requests as fuzzed
from tests.nowtwin.inside import Inside, Wish, error_log

pytestmark = pytest.mark.behaviour(
    "2.4, 8.1", evidence="assumption: what no source shows is refused in the documented words"
)

SMALL = settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
LARGE = settings(parent=SMALL, max_examples=10_000)
FEW = settings(parent=SMALL, max_examples=30)
JSON_BODY = ("Content-Type", "application/json")


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    with Instance() as instance:
        instance.switches = replace(instance.switches, script_seconds=1, script_memory_bytes=16_000_000)
        instance.load("incident", [{"sys_id": f"{n:032}", "number": f"INC{n}", "state": str(n % 4)} for n in range(9)])
        made = Inside(instance)
        yield made
        made.close()


@pytest.fixture(scope="module")
def fresh() -> Iterator[Inside]:
    """An instance that is reset when a file was loaded."""
    with Instance() as instance:
        made = Inside(instance)
        yield made
        made.close()


def rows(inside: Inside, **params: str) -> list[dict[str, str]]:
    got = inside.ask(Wish("GET", "/api/now/table/incident", tuple(params.items()), (fuzzed.ADMIN,)))
    assert got.status == 200, (params, got)
    found: list[dict[str, str]] = json.loads(got.body)["result"]
    return found


def bent(texts: st.SearchStrategy[str], pieces: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """A text as it is, or with something cut out, doubled or put in."""

    def bend(text: str, at: int, length: int, piece: str) -> str:
        at = at % (len(text) + 1)
        return text[:at] + piece + text[at + length :]

    return texts | st.builds(bend, texts, st.integers(0, 200), st.integers(0, 6), pieces)


# -- encoded queries -----------------------------------------------------------------------------------------------

_FIELDS = st.sampled_from(
    (
        "number", "state", "caller_id", "caller_id.name", "caller_id.company.name", "opened_at", "active", "sys_id",
        "sys_class_name", "watch_list", "work_notes", "reassignment_count", "business_duration", "nope", "nope.nope",
        "sys_tags", "sys_tags.x", "caller_id.", ".", "", "parent.parent.parent.number", "sys_updated_on", "state.x",
    )
)  # fmt: skip
_OPERATORS = st.sampled_from(
    (
        "=", "!=", "<", "<=", ">", ">=", "LIKE", "NOT LIKE", "*", "!*", "STARTSWITH", "ENDSWITH", "%", "IN", "NOT IN",
        "ISEMPTY", "ISNOTEMPTY", "EMPTYSTRING", "ANYTHING", "BETWEEN", "SAMEAS", "NSAMEAS", "GT_FIELD", "LT_FIELD",
        "GT_OR_EQUALS_FIELD", "MORETHAN", "LESSTHAN", "ON", "NOTON", "DATEPART", "RELATIVEGT", "RELATIVELT",
        "RELATIVEGE", "RELATIVELE", "RELATIVEEE", "DYNAMIC", "IN_HIERARCHY", "IN_HIERARCHY_DYNAMIC", "INSTANCEOF",
        "VALCHANGES", "CHANGESFROM", "CHANGESTO", "DOESNOTHAVE", "EXCLUDING", "", "=="
    )
)  # fmt: skip
_VALUES = st.sampled_from(
    (
        "", "1", "1,2", ",", "a@b", "1@2", "@", "@@", "@hour@ago@1", "@month@ahead@999999999999", "@year@ago@9999",
        "@dayofweek@ago@x", "Today@javascript:gs.beginningOfToday()@javascript:gs.endOfToday()", "task", "NULL",
        "Monday@javascript:gs.datePart('dayofweek','monday','EE')", "90d1921e5f510100a9ad2572f2b477fe", "true",
        "javascript:gs.daysAgo(1)", "javascript:gs.monthsAgo(999999999)", "javascript:gs.daysAgo('", "javascript:",
        "javascript:gs.dateGenerate('9999-99-99','start')", "javascript:gs.yearsAgo(-99999)", "opened_at@day@before@1",
        "closed_at@month@after@999999999999999999", "sys_updated_on@day", "2025-01-01", "2025-02-31 00:00:00", "\x00",
        "9" * 40, "1e400", "%_\\", "[*]?", "'", '"', "\ud800",
    )
) | st.text(max_size=8)  # fmt: skip
_CONDITIONS = st.builds("{}{}{}".format, _FIELDS, _OPERATORS, _VALUES)
_CLAUSES = _CONDITIONS | st.sampled_from(
    (
        "ORDERBYnumber", "ORDERBYDESCcaller_id", "ORDERBY", "ORDERBYDESC", "GROUPBYstate", "GROUPBY", "EQ", "NQ", "OR",
        "123TEXTQUERY321=a b", "123TEXTQUERY321", "123TEXTINDEXGROUP321=x", "RLQUERYtask.parent,>0", "ENDRLQUERY",
        "RLQUERYsys_user_grmember.user,>=1,m2m", "RLQUERYnope.nope,>0", "RLQUERYtask.parent,>99999999999999999999",
        "JOINincident.sys_id=task.parent!number=x", "JOINincident.nope=task.nope!", "JOIN", "RLQUERY", "NQNQ", "OROR",
    )
)  # fmt: skip
_JOINED = st.lists(st.tuples(st.sampled_from(("^", "^OR", "^NQ", "^^", "")), _CLAUSES), max_size=6).map(
    lambda parts: "".join(map("".join, parts))
)
_QUERIES = bent(_JOINED, st.sampled_from(("^", "OR", "NQ", "@", "(", "LIKE", ".", " ", "IN", "javascript:", "\x00")))


def look_with(inside: Inside, query: str) -> None:
    """The list and the count agree."""
    with error_log() as logged:
        found = rows(inside, sysparm_query=query, sysparm_fields="number")
        path, params = "/api/now/stats/incident", (("sysparm_query", query), ("sysparm_count", "true"))
        counted = inside.ask(Wish("GET", path, params, (fuzzed.ADMIN,)))
    assert not logged
    assert json.loads(counted.body)["result"]["stats"]["count"] == str(len(found))


@SMALL
@given(_QUERIES)
def test_every_query_finds_rows_and_counts_as_many(inside: Inside, query: str) -> None:
    look_with(inside, query)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@LARGE
@given(_QUERIES)
def test_every_query_finds_rows_and_counts_as_many_for_long(inside: Inside, query: str) -> None:
    look_with(inside, query)


# -- scripts -------------------------------------------------------------------------------------------------------

_SNIPPETS = st.sampled_from(
    (
        "for (;;) {}", "while (true) gs.log('x');", "function f() { return f() + 1; } f();", "var a = []; for (;;) a.push(a);",
        "'x'.repeat(1e9);", "new Array(1e9).fill(0);", "current.setAbortAction(true);", "current.short_description = {};",
        "throw undefined;", "var = 1;", "((((", "gs.addErrorMessage(null);", "current.update();", "current.insert();",
        "new GlideRecord('nope').query();", "new GlideRecord().insert();", "current.state = current;", "eval('for(;;){}');",
        "var g = new GlideRecord('incident'); g.addEncodedQuery('^^^'); g.query(); while (g.next()) g.deleteRecord();",
        "new GlideDateTime('x').addDays(1e300);", "new GlideDuration(-1e99);", "current.nope.nope = 1;", "gs.eventQueue();",
        "JSON.parse('{');", "current.setValue(null, null);", "current.get(undefined);", "new Proxy({}, {}).x;", "await 1;",
        "new sn_ws.RESTMessageV2().execute();", "gs.include('Nope');", "current.sys_id = 'x';", "\x00", "\ud800", "/*",
        "Object.prototype.toString = 1;", "current = null;", "gs = 1;", "return;", "import('x');", "async () => {};",
    )
)  # fmt: skip
_SCRIPTS = st.lists(bent(_SNIPPETS, st.sampled_from(("(", "}", ";", "'", "/", "\n", "var "))), min_size=1, max_size=3)


def run_in_a_rule(inside: Inside, script: str, when: str) -> None:
    rule = {"name": "Fuzzed", "collection": "incident", "when": when, "active": "true", "advanced": "true"}
    sys_id = inside.instance.insert(
        "sys_script", rule | {"action_insert": "true", "script": script.encode(errors="replace").decode()}
    ).sys_id
    with error_log() as logged:
        body = json.dumps({"short_description": "x"}).encode()
        got = inside.ask(Wish("POST", "/api/now/table/incident", (), (fuzzed.ADMIN, JSON_BODY), body))
        assert inside.instance.scripts.jobs.settle(20)
    assert got.status in {201, 403}, got
    assert not logged
    inside.instance.delete("sys_script", sys_id)
    assert isinstance(rows(inside, sysparm_limit="1"), list)


@FEW
@given(_SCRIPTS.map("\n".join), st.sampled_from(("before", "after", "async_always")))
def test_every_script_ends_and_the_write_is_answered(inside: Inside, script: str, when: str) -> None:
    run_in_a_rule(inside, script, when)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(parent=FEW, max_examples=600)
@given(_SCRIPTS.map("\n".join), st.sampled_from(("before", "after", "async_always")))
def test_every_script_ends_and_the_write_is_answered_for_long(inside: Inside, script: str, when: str) -> None:
    run_in_a_rule(inside, script, when)


# -- files ---------------------------------------------------------------------------------------------------------

_SCHEMA = {
    "tables": [{"name": "u_t", "label": "T", "super_class": "task"}],
    "columns": [{"table": "u_t", "element": "u_c", "internal_type": "string"}],
    "choices": [{"table": "u_t", "element": "u_c", "value": "1", "label": "One"}],
}
_SEEDS = st.sampled_from(
    (
        json.dumps(_SCHEMA), json.dumps({"incident": [{"number": "INC1"}]}), json.dumps({"records": {}, "references": {}}),
        '{"manufacturer": "A", "model": "B"}\n{"manufacturer": "A", "model": "C"}', "table,label,super_class\nu_x,X,task\n",
        "number,incident_state,sys_mod_count\nINC1,New,0\n", '{"incident":[{"number":1}]}', "[]", "", "\ufeff{}", "{",
        "[" * 9_000, '{"tables":1,"columns":[],"choices":[]}', '{"tables":[1],"columns":[{}],"choices":[null]}',
        '{"records":[],"references":[]}', '{"records":{"incident":[1]},"references":{}}', "table,label,super_class\n,,\n",
        "table,label,super_class\nu_y,Y,u_y\n", '"\n",\x00', '{"manufacturer":null,"model":[]}', '{"incident":[{"state":""}]}',
    )
)  # fmt: skip
_SEED_VALUES = fuzzed.TREES.map(json.dumps) | st.dictionaries(
    st.sampled_from(("tables", "columns", "choices", "records", "references", "incident", "sys_user")), fuzzed.TREES
).map(json.dumps)
_NAMES = st.sampled_from(("a.json", "a.csv", "a.jsonl", "a.json.gz", "a.csv.gz", "a.txt", "a.gz", "a"))
_BYTES = bent(_SEEDS | _SEED_VALUES, st.sampled_from(('"', "{", "]", ",", "\n", "\x00", "null", "1"))).map(
    lambda text: text.encode(errors="surrogatepass")
)


def load_or_refuse(inside: Inside, folder: Path, name: str, data: bytes, *, packed: bool) -> None:
    """What `--data` does with a file: rows, or a reason. The command turns exactly these two errors into words."""
    file = folder / name
    file.write_bytes(gzip.compress(data) if packed else data)
    instance = inside.instance
    with suppress(ValueError, Refused):
        assert all(count >= 0 for count in load_file(instance, file).values())
        instance.reset()
    assert instance.count("sys_user", "user_name=admin") == 1
    assert instance.insert("incident", {"short_description": "still here"}).values["number"]


SEED_FILE = given(_NAMES, _BYTES, st.booleans())


@settings(parent=SMALL, max_examples=40)
@SEED_FILE
def test_every_seed_file_is_loaded_or_refused(
    fresh: Inside, tmp_path: Path, name: str, data: bytes, packed: bool
) -> None:
    load_or_refuse(fresh, tmp_path, name, data, packed=packed)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@settings(parent=SMALL, max_examples=1_500)
@SEED_FILE
def test_every_seed_file_is_loaded_or_refused_for_long(
    fresh: Inside, tmp_path: Path, name: str, data: bytes, packed: bool
) -> None:
    load_or_refuse(fresh, tmp_path, name, data, packed=packed)


_RECORD = '<record_update table="{0}"><{0} action="{1}"><sys_id>{2}</sys_id>{3}</{0}></record_update>'
_COLUMNS = st.lists(
    st.builds(
        "<{0}{1}>{2}</{0}>".format,
        st.sampled_from(
            ("name", "script", "collection", "super_class", "element", "internal_type", "number", "nope", "a-b")
        ),
        st.sampled_from(("", ' name="task"', ' display_value="x"', ' sys_id="1"')),
        st.sampled_from(("x", "", "u_odd", "task", "incident", "&lt;", "]]&gt;", "true", "9" * 30)),
    ),
    max_size=4,
).map("".join)
_RECORDS = st.builds(
    _RECORD.format,
    st.sampled_from(
        ("sys_script", "sys_db_object", "sys_dictionary", "sys_choice", "incident", "u_new", "sys_user", "sys_app")
    ),
    st.sampled_from(("INSERT_OR_UPDATE", "DELETE", "delete_multiple", "", "x")),
    st.sampled_from(("1" * 32, "", "x", "4")),
    _COLUMNS,
)  # fmt: skip
_TABLE_XML = '<database><element name="u_db" type="collection" extends="{}"><element name="u_c" type="{}" max_length="{}"/></element></database>'
_UPDATES = (
    _RECORDS
    | fuzzed.XML.map(lambda data: data.decode(errors="replace"))
    | st.lists(_RECORDS, max_size=3).map(lambda records: f"<unload>{''.join(records)}</unload>")
    | st.builds(
        _TABLE_XML.format,
        st.sampled_from(("task", "nope", "u_db", "")),
        st.sampled_from(("string", "nope", "reference", "")),
        st.sampled_from(("40", "x", "-1", "9" * 30, "")),
    )
)
_PACKAGES = bent(_UPDATES, st.sampled_from(("<", ">", "&x;", "</", "\x00", '"', "<!DOCTYPE a>", "]]>")))


def _zipped(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../update/a.xml", data)
    return packed.getvalue()


_FORMS: tuple[Callable[[bytes], bytes], ...] = (
    bytes,
    _zipped,
    lambda data: _zipped(data)[:-20],
    lambda d: _zipped(d)[9:],
)


def install_or_refuse(inside: Inside, data: bytes, form: Callable[[bytes], bytes]) -> None:
    with error_log() as logged:
        got = inside.ask(Wish("POST", "/_nowtwin/apps", (), (), form(data)))
    assert not logged
    assert got.status in {200, 400}, got
    if got.status == 400:
        assert json.loads(got.body)["error"]["message"]
    assert isinstance(rows(inside, sysparm_limit="1"), list)


@SMALL
@given(_PACKAGES.map(lambda text: text.encode(errors="replace")), st.sampled_from(_FORMS))
def test_every_update_set_is_installed_or_refused(inside: Inside, data: bytes, form: Callable[[bytes], bytes]) -> None:
    install_or_refuse(inside, data, form)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@LARGE
@given(_PACKAGES.map(lambda text: text.encode(errors="replace")), st.sampled_from(_FORMS))
def test_every_update_set_is_installed_or_refused_for_long(
    inside: Inside, data: bytes, form: Callable[[bytes], bytes]
) -> None:
    install_or_refuse(inside, data, form)
