"""Hostile and broken scripts: the write goes on, the log says why, and the twin serves the next request as if nothing
had been. The limits themselves are assumptions (switches); that a failing script does not stop the write is
servicenow-api.md 8.1.
"""

import pytest

from tests.nowtwin.scripts import add_include, add_rule, errors, insert, logged, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: c_BusinessRules.md")

TIMED_OUT = "Transaction cancelled: maximum execution time exceeded"


@pytest.fixture
def strict(talk: Talk) -> Talk:
    talk.control("PUT", "switches", {"script_seconds": 1, "script_memory_bytes": 16_000_000})
    return talk


@pytest.mark.behaviour("8.1", evidence="assumption: the limit", switch="script_seconds")
@pytest.mark.behaviour("8.1", evidence="assumption: the limit", switch="script_memory_bytes")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("for (;;) {}", TIMED_OUT),
        ("try { for (;;) {} } catch (e) { } finally { for (;;) {} }", TIMED_OUT),
        ("while (true) gs.getProperty('x');", TIMED_OUT),
        ("/^(a+)+$/.test('a'.repeat(60) + '!');", TIMED_OUT),
        ("for (;;) { var r = new GlideRecord('problem'); r.short_description = 'x'; r.insert(); }", TIMED_OUT),
        ("var all = []; for (;;) all.push('x'.repeat(10000) + all.length);", "InternalError: out of memory"),
        ("var s = 'x'; for (;;) s += s;", "InternalError: "),
        ("function deep() { return deep() + 1; } deep();", "RangeError: Maximum call stack size exceeded"),
        ("var a = []; a[0] = a; JSON.stringify(a);", "TypeError: circular reference"),
        ("current.short_description = ;", "SyntaxError: "),
        ("}); for (;;) {} (function () {", TIMED_OUT),
        ("throw 'a word';", "a word"),
        ("throw { toString: function () { throw 1; } };", "uncaught exception"),
        ("throw null;", "null"),
        (
            "JSON.stringify = null; Array.prototype.map = null; Object.prototype.toJSON = function () { return 7; }; x.y",
            "",
        ),
        ("$host('{}');", "ReferenceError: $host is not defined"),
        ("require('os');", "ReferenceError: require is not defined"),
        ("new GlideRecord('incident').query.call({});", "TypeError: "),
        ("new RegExp('(');", "SyntaxError: "),
        ("gs.sleep(100000);", "TypeError: "),
    ],
)
def test_a_hostile_script_ends_and_the_write_goes_on(strict: Talk, script: str, message: str) -> None:
    hostile = add_rule(strict, script, name="Hostile")
    add_rule(strict, "current.category = 'network';", order=200)
    assert insert(strict)["category"] == "network"
    found = errors(strict)
    assert len(found) == 1
    assert found[0].startswith(message)
    strict.delete("sys_script", hostile)
    assert insert(strict)["category"] == "network"
    assert len(errors(strict)) == 1


def test_what_a_script_broke_is_whole_again_for_the_next_one(talk: Talk) -> None:
    script = """GlideRecord.prototype.insert = null; GlideRecord = null; Date = 5; JSON.parse = 7; JSON = {}; undeclared = 3;
        Array.prototype.map = null; Array.prototype.contains = function () {}; Object.prototype.odd = 1; Math.PI2 = 1;
        try { Object.defineProperty(globalThis, 'gs', {get: function () { for (;;) {} }}); } catch (e) { gs = undefined; }
        String.prototype.trim = function () { for (;;) {} };"""
    broken = add_rule(talk, script, order=900)
    look = """current.description = [typeof undeclared, gs.getUserName(), JSON.stringify([1].map(String)), ' x '.trim(), 'contains' in [],
        'odd' in {}, Math.PI2, typeof GlideRecord.prototype.insert, new Date(0).getTime()].join();"""
    add_rule(talk, look, order=200)
    insert(talk)
    talk.delete("sys_script", broken)
    assert insert(talk)["description"] == 'undefined,admin,["1"],x,false,false,,function,0'
    assert errors(talk) == []


def test_odd_values_are_stored_as_what_they_can_be(talk: Talk) -> None:
    """A lone surrogate is no text; NUL and large texts are."""
    script = """current.description = 'a\\ud800b' + String.fromCharCode(0) + 'c'; current.short_description = 'x'.repeat(1e6);
        current.impact = 'many'; current.opened_at = 'yesterday'; current.caller_id = {}; current.urgency = NaN;"""
    add_rule(talk, script)
    record = insert(talk, impact="2")
    assert record["description"] == "a\ufffdb\0c"
    assert record["impact"] == "2"
    assert len(record["short_description"]) == 160
    assert errors(talk) == []


@pytest.mark.parametrize(
    "call",
    [
        "addQuery('short_description', 'LIKE', {})",
        "addEncodedQuery('^^^OR^NQ=RLQUERY')",
        "addQuery('a.b.c.d.e.f', '!!', null)",
        "addQuery(null)",
        "orderBy({})",
        "setLimit(-5)",
        "setLimit('lots')",
        "chooseWindow(NaN, Infinity)",
    ],
)
def test_odd_queries_are_answered(talk: Talk, call: str) -> None:
    add_rule(
        talk, f"var r = new GlideRecord('incident'); r.{call}; r.query(); r.next(); current.description = 'went on';"
    )
    assert insert(talk)["description"] == "went on"
    assert errors(talk) == []


def test_a_query_beyond_what_the_database_takes_is_an_error_of_the_script(talk: Talk) -> None:
    script = """var r = new GlideRecord('incident'), c = r.addQuery('number', '0');
        for (var i = 0; i < 5000; i++) c.addOrCondition('number', String(i)); r.query();"""
    add_rule(talk, script)
    insert(talk)
    assert ["Error: " in line for line in errors(talk)] == [True]


def test_a_runaway_include_and_a_runaway_default_are_ended_too(strict: Talk) -> None:
    add_include(strict, "Runaway", "var Runaway = {}; for (;;) {}")
    add_rule(strict, "Runaway.go();")
    column = {"name": "incident", "element": "u_slow", "internal_type": "string"}
    strict.post("sys_dictionary", column | {"default_value": "javascript:for (;;) {}"})
    assert insert(strict)["u_slow"] == ""
    assert [line.startswith(TIMED_OUT) for line in errors(strict)] == [True, True]


def test_a_runaway_inner_rule_ends_the_outer_script_with_it(strict: Talk) -> None:
    """The limit is that of the whole transaction: an assumption."""
    add_rule(strict, "for (;;) {}", collection="problem")
    add_rule(strict, "var p = new GlideRecord('problem'); p.insert(); current.description = 'not reached';")
    assert insert(strict)["description"] == ""
    assert len(errors(strict)) == 2


def test_a_runaway_job_is_ended_and_the_next_one_runs(strict: Talk) -> None:
    add_rule(strict, "for (;;) {}", when="async", order=1)
    add_rule(strict, "gs.info('ran');", when="async", order=2)
    insert(strict)
    settle(strict)
    assert logged(strict) == ["ran"]
    assert [line.startswith(TIMED_OUT) for line in errors(strict)] == [True]


def test_requests_are_served_while_a_script_is_stuck_waiting_for_its_end(strict: Talk) -> None:
    """A job that runs away holds nothing that others need."""
    strict.control("PUT", "switches", {"script_seconds": 2, "async_rule_delay_ms": 0})
    add_rule(strict, "gs.info('stuck'); for (;;) {}", when="async")
    insert(strict)
    while logged(strict) != ["stuck"]:
        pass
    assert strict.get("table/incident").status == 200
    assert strict.control("GET", "jobs") == {"pending": 1}
    settle(strict)
