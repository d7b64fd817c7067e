"""The classes that server scripts use, each worked out in a rule on a new incident.

Evidence: servicenow-api.md 8.1 where it names a class; otherwise the public server API reference, from memory, so an
assumption where it is subtle (marked). Digests and MACs are checked against Python's own.
"""

import base64
import hashlib
import hmac
import json

import pytest

from tests.nowtwin.scripts import add_rule, errors, evaluated, insert, logged
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: server API reference")

ABEL = "62826bf03710200044e0bfc8bcbe5df1"
ACME = "31bea3d53790200044e0bfc8bcbe5dec"


@pytest.fixture
def rows(talk: Talk) -> Talk:
    """Problems one to five, a user with a company, at a fixed time."""
    talk.control("PUT", "clock", {"set": "2024-03-15 10:20:30", "frozen": True})
    talk.instance.load("core_company", [{"sys_id": ACME, "name": "Acme"}])
    talk.instance.load("sys_user", [{"sys_id": ABEL, "user_name": "abel", "name": "Abel Tuter", "company": ACME}])
    problems = [
        {
            "number": f"PRB000{n}",
            "short_description": f"problem {n}",
            "impact": str(n % 3 + 1),
            "active": str(n > 2).lower(),
        }
        | ({"assigned_to": ABEL} if n % 2 else {})
        for n in range(1, 6)
    ]
    talk.instance.load("problem", problems)
    return talk


def function(body: str) -> str:
    return f"(function () {{ {body} }})()"


def test_a_constant_is_a_constant(talk: Talk) -> None:
    """The measuring tool itself."""
    assert evaluated(talk, "6 * 7") == "42"


FOUND = "var found = []; while (gr.next()) found.push(gr.number.toString().slice(-1)); return found.join('');"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "12345"),
        ("gr.addQuery('short_description', 'problem 3');", "3"),
        ("gr.addQuery('impact', '>', 1); gr.addQuery('active', true);", "45"),
        ("gr.addQuery('short_description', 'CONTAINS', '2').addOrCondition('number', 'ENDSWITH', '4');", "24"),
        ("gr.addQuery('number', 'IN', ['PRB0001', 'PRB0005']);", "15"),
        ("gr.addQuery('short_description', '!=', 'problem 1');", "2345"),
        ("gr.addEncodedQuery('active=false^number!=PRB0001^ORimpact=9');", "2"),
        ("gr.addQuery('active', false); gr.addEncodedQuery('impact=2^NQnumber=PRB0005');", "15"),
        ("gr.addQuery('number=PRB0004');", "4"),
        ("gr.addNullQuery('assigned_to');", "24"),
        ("gr.addNotNullQuery('assigned_to');", "135"),
        ("gr.addQuery('assigned_to.company.name', 'Acme');", "135"),
        ("gr.addActiveQuery();", "345"),
        ("gr.orderByDesc('number'); gr.setLimit(2);", "54"),
        ("gr.chooseWindow(1, 3);", "23"),
        ("gr.addQuery('short_description', 'with ^ caret');", ""),
        ("gr.addQuery('no_such_column', 'x');", "12345"),
    ],
)
def test_queries_of_gliderecord(rows: Talk, query: str, found: str) -> None:
    body = f"var gr = new GlideRecord('problem'); {query} gr.orderBy('number'); gr.query(); {FOUND}"
    assert evaluated(rows, function(body)) == found


def test_a_query_goes_on_after_a_page_and_leaves_out_what_is_deleted_meanwhile(rows: Talk) -> None:
    rows.instance.load("problem", [{"number": f"PRB1{n:03d}"} for n in range(120)])
    body = """var gr = new GlideRecord('problem'), n = 0; gr.orderBy('number'); gr.query();
        var first = gr.getRowCount();
        while (gr.next()) { n++; if (n == 1) { var d = new GlideRecord('problem'); d.get('number', 'PRB1100'); d.deleteRecord(); } }
        return [first, n, gr.hasNext()].join();"""
    assert evaluated(rows, function(body)) == "125,124,false"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("gr.getValue('number')", "PRB0003"),
        ("gr.getValue('description')", "null"),
        ("gr.getValue('active')", "1"),
        ("gr.active", "true"),
        ("gr.active == true", "true"),
        ("gr.impact == 1 && gr.impact == '1' && gr.impact < 2", "true"),
        ("gr.getDisplayValue('impact')", "1 - High"),
        ("gr.impact.getDisplayValue()", "1 - High"),
        ("gr.getDisplayValue()", "PRB0003"),
        ("gr.assigned_to", ABEL),
        ("gr.assigned_to.name", "Abel Tuter"),
        ("gr.assigned_to.company.name", "Acme"),
        ("gr.assigned_to.getDisplayValue()", "Abel Tuter"),
        ("gr.getDisplayValue('assigned_to.company')", "Acme"),
        ("gr.getElement('assigned_to.company.name')", "Acme"),
        ("gr.assigned_to.getRefRecord().getTableName()", "sys_user"),
        ("gr.assigned_to.manager.name.nil()", "true"),
        ("gr.assigned_to.getReferenceTable()", "sys_user"),
        ("gr.getTableName() + gr.getRecordClassName()", "taskproblem"),
        ("gr.getUniqueValue() == gr.sys_id", "true"),
        ("gr.isValidRecord() + ' ' + gr.isNewRecord()", "true false"),
        ("gr.isValidField('number') + ' ' + gr.isValidField('nope')", "true false"),
        ("gr.nope", "undefined"),
        (
            "gr.short_description.getLabel() + '/' + gr.short_description.getED().getInternalType()",
            "Short description/string",
        ),
        ("JSON.stringify({n: gr.number})", '{"n":"PRB0003"}'),
        ("gr.description.nil() + ' ' + gs.nil(gr.description) + ' ' + gs.nil(gr.number)", "true true false"),
        ("new GlideRecord('nope').isValid()", "false"),
        ("typeof gr.number + typeof gr.getValue('number')", "objectstring"),
        ("'number' in gr", "true"),
        ("gr.getLink(true).split('/').pop().split('?')[0]", "task.do"),
    ],
)
def test_values_and_elements(rows: Talk, expression: str, text: str) -> None:
    body = f"var gr = new GlideRecord('task'); if (!gr.get('number', 'PRB0003')) return 'none'; return {expression};"
    assert evaluated(rows, function(body)) == text


def test_writes_of_gliderecord(rows: Talk) -> None:
    body = """var gr = new GlideRecord('problem'); gr.initialize(); gr.short_description = 'made'; gr.setValue('impact', 1);
        gr.urgency = 1; gr.setDisplayValue('assigned_to', 'Abel Tuter'); gr.work_notes = 'begun'; var id = gr.insert();
        var again = new GlideRecord('problem'); again.get(id); again.short_description += ' again'; again.work_notes = 'done';
        again.update(); again.get(id);
        return [gr.sys_id == id, gr.priority, again.short_description, again.sys_mod_count, again.assigned_to.name,
            again.work_notes.getJournalEntry(1).trim()].join('|');"""
    expected = "true|1|made again|1|Abel Tuter|2024-03-15 10:20:30 - System Administrator (Work notes)\ndone"
    assert evaluated(rows, function(body)) == expected


def test_many_at_once_and_deletes(rows: Talk) -> None:
    body = """var gr = new GlideRecord('problem'); gr.addQuery('active', true); gr.short_description = 'all';
        gr.setValue('short_description', 'all'); gr.updateMultiple();
        var rest = new GlideRecord('problem'); rest.addQuery('short_description', 'all'); rest.query(); var n = rest.getRowCount();
        var gone = new GlideRecord('problem'); gone.addQuery('short_description', 'all'); gone.deleteMultiple();
        rest = new GlideRecord('problem'); rest.query();
        return [n, rest.getRowCount(), new GlideRecord('problem').deleteRecord()].join();"""
    assert evaluated(rows, function(body)) == "3,2,false"
    assert len(rows.rows("sys_audit_delete", "tablename=problem")) == 3


def test_new_records_have_defaults_and_may_bring_their_sys_id(rows: Talk) -> None:
    body = f"""var gr = new GlideRecord('incident'); gr.newRecord(); var urgency = String(gr.urgency);
        var own = new GlideRecord('problem'); own.initialize(); own.setNewGuidValue('{"a" * 32}'); own.short_description = 'own';
        var out = [urgency, gr.sys_id.toString().length, own.insert()];
        own.setNewGuidValue(own.getUniqueValue());
        return out.concat([own.insert(), own.getLastErrorMessage()]).join('|');"""
    expected = "Unique Key violation detected by database (Duplicate entry '" + "a" * 32 + "' for key 'PRIMARY')"
    assert evaluated(rows, function(body)) == f"3|32|{'a' * 32}||{expected}"


def test_inserting_a_record_that_was_read_copies_it(rows: Talk) -> None:
    body = """var gr = new GlideRecord('problem'); gr.get('number', 'PRB0002'); var old = gr.getUniqueValue(); var made = gr.insert();
        var all = new GlideRecord('problem'); all.addQuery('short_description', 'problem 2'); all.query();
        return [old == made, all.getRowCount()].join();"""
    assert evaluated(rows, function(body)) == "false,2"


def test_glide_record_secure_sees_what_the_user_may(rows: Talk) -> None:
    rows.instance.add_user("joe", "secret", roles=("itil",))
    hidden = [
        {"table": "problem", "query": "active=true", "user": "joe"},
        {"table": "problem", "elements": ["impact"], "user": "joe"},
    ]
    rows.control("PUT", "hidden", hidden)
    script = """['GlideRecord', 'GlideRecordSecure'].forEach(function (name) {
        var gr = new globalThis[name]('problem'); gr.orderBy('number'); gr.query(); var n = 0; while (gr.next()) n++;
        gr.get('number', 'PRB0001'); gs.info(name + ' ' + n + ' ' + gr.getValue('impact')); });"""
    add_rule(rows, script)
    assert insert(rows.as_user("joe", "secret"))
    assert sorted(logged(rows)) == ["GlideRecord 5 2", "GlideRecordSecure 2 null"]


def test_aggregates(rows: Talk) -> None:
    body = """var ga = new GlideAggregate('problem'); ga.addAggregate('COUNT'); ga.addAggregate('SUM', 'impact');
        ga.addAggregate('MIN', 'number'); ga.addAggregate('AVG', 'impact'); ga.query(); ga.next();
        var out = [ga.getAggregate('COUNT'), ga.getAggregate('SUM', 'impact'), ga.getAggregate('MIN', 'number'),
            parseFloat(ga.getAggregate('AVG', 'impact')), ga.next()];
        var by = new GlideAggregate('problem'); by.addAggregate('COUNT'); by.groupBy('active'); by.orderBy('active'); by.query();
        while (by.next()) out.push(by.active + '=' + by.getAggregate('COUNT'));
        var per = new GlideAggregate('problem'); per.addAggregate('COUNT', 'impact'); per.addHaving('COUNT', '>', 1);
        per.orderBy('impact'); per.query();
        while (per.next()) out.push(per.getValue('impact') + ':' + per.getAggregate('COUNT', 'impact'));
        return out.join(' ');"""
    assert evaluated(rows, function(body)) == "5 11 PRB0001 2.2 false false=2 true=3 2:2 3:2"


def test_the_largest_value_and_groups_in_the_order_of_an_aggregate(rows: Talk) -> None:
    body = """var out = []; var ga = new GlideAggregate('problem'); ga.addAggregate('MAX', 'number'); ga.query(); ga.next();
        out.push(ga.getAggregate('MAX', 'number'));
        var by = new GlideAggregate('problem'); by.addQuery('number', '!=', 'PRB0002'); by.addAggregate('COUNT');
        by.groupBy('impact'); by.orderByAggregate('COUNT'); by.query(); by.next(); out.push(by.impact + ':' + by.getAggregate('COUNT'));
        return out.join(' ');"""
    assert evaluated(rows, function(body)) == "PRB0005 2:2"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("new GlideDateTime()", "2024-03-15 10:20:30"),
        ("new GlideDateTime('2024-01-31 12:00:00').getValue()", "2024-01-31 12:00:00"),
        ("new GlideDateTime('2024-01-31 12:00:00').getDisplayValue()", "2024-01-31 12:00:00"),
        ("new GlideDateTime('1970-01-02 00:00:00').getNumericValue()", "86400000"),
        ("(function(d){d.addSeconds(90); return d})(new GlideDateTime('2024-02-28 23:59:00'))", "2024-02-29 00:00:30"),
        ("(function(d){d.addDays(-1); return d})(new GlideDateTime('2024-03-01 00:00:00'))", "2024-02-29 00:00:00"),
        ("(function(d){d.addMonths(1); return d})(new GlideDateTime('2024-01-31 00:00:00'))", "2024-02-29 00:00:00"),
        ("(function(d){d.addYears(1); return d})(new GlideDateTime('2024-02-29 00:00:00'))", "2025-02-28 00:00:00"),
        ("(function(d){d.subtract(60000); return d})(new GlideDateTime('2024-03-01 00:00:00'))", "2024-02-29 23:59:00"),
        ("new GlideDateTime('2024-01-01 00:00:00').compareTo(new GlideDateTime('2024-01-02 00:00:00'))", "-1"),
        ("new GlideDateTime('2024-01-01 00:00:00').equals('2024-01-01 00:00:00')", "true"),
        ("new GlideDateTime('2024-01-01 00:00:00').before(new GlideDateTime())", "true"),
        ("GlideDateTime.subtract(new GlideDateTime('2024-01-01 00:00:00'), new GlideDateTime('2024-01-02 01:00:00')).getDisplayValue()", "1 Day 1 Hour"),
        ("GlideDateTime.subtract(new GlideDateTime('2024-01-01 00:00:00'), new GlideDateTime('2024-01-02 01:00:00')).getNumericValue()", "90000000"),
        ("new GlideDateTime('2024-03-15 00:00:00').getDayOfWeekUTC()", "5"),
        ("new GlideDateTime('nonsense').isValid()", "false"),
        ("new GlideDateTime('2024-05-06 07:08:09').getDate().getByFormat('dd.MM.yyyy')", "06.05.2024"),
        ("new Date().toISOString()", "2024-03-15T10:20:30.000Z"),
        ("new Date(0) instanceof Date", "true"),
        ("gs.nowDateTime() + '|' + gs.now() + '|' + gs.nowNoTZ()", "2024-03-15 10:20:30|2024-03-15|2024-03-15 10:20:30"),
        ("gs.daysAgo(2)", "2024-03-13 10:20:30"),
        ("gs.daysAgoStart(1) + '|' + gs.hoursAgoEnd(1)", "2024-03-14 00:00:00|2024-03-15 09:59:59"),
        ("gs.beginningOfToday() + '|' + gs.endOfLastMonth()", "2024-03-15 00:00:00|2024-02-29 23:59:59"),
        ("gs.beginningOfThisWeek()", "2024-03-11 00:00:00"),
        ("gs.dateGenerate('2024-05-01', 'end')", "2024-05-01 23:59:59"),
        ("gs.dateDiff('2024-01-01 00:00:00', '2024-01-02 01:02:03', true)", "90123"),
        ("gs.dateDiff('2024-01-01 00:00:00', '2024-01-02 01:02:03', false)", "1 01:02:03"),
        ("new GlideDuration('1 00:30:00').getDisplayValue()", "1 Day 30 Minutes"),
        ("new GlideDuration(90000).getValue()", "1970-01-01 00:01:30"),
    ],
)  # fmt: skip
def test_dates(rows: Talk, expression: str, text: str) -> None:
    assert evaluated(rows, expression) == text


def test_local_dates_follow_the_users_zone_and_its_daylight_saving(talk: Talk) -> None:
    talk.instance.add_user("joe", "secret", roles=("itil",), time_zone="US/Pacific", date_format="dd.MM.yyyy")
    script = """var d = new GlideDateTime('2024-03-10 08:00:00'); d.addDaysLocalTime(1);
        var shown = new GlideDateTime(); shown.setDisplayValue('10.03.2024 01:00:00');
        current.description = [d, d.getDisplayValue(), d.getDayOfMonthLocalTime(), d.getTZOffset() / 3600000, shown].join('|');"""
    add_rule(talk, script)
    found = insert(talk.as_user("joe", "secret"))["description"]
    assert found == "2024-03-11 07:00:00|11.03.2024 00:00:00|11|-7|2024-03-10 09:00:00"


def test_the_session_is_the_callers(talk: Talk) -> None:
    joe = talk.instance.add_user("joe", "secret", roles=("itil",), first_name="Joe", last_name="Doe", email="j@x.test")
    script = """var u = gs.getUser(); current.description = JSON.stringify([gs.getUserID(), gs.getUserName(), gs.getUserDisplayName(),
        gs.hasRole('itil'), gs.hasRole('admin'), gs.hasRole('x,itil'), u.getEmail(), u.getFirstName(), u.getName(),
        gs.isInteractive(), gs.getSession().isInteractive(), u.isMemberOf('nobody')]);"""
    add_rule(talk, script)
    found = json.loads(insert(talk.as_user("joe", "secret"))["description"])
    assert found == [joe, "joe", "Joe Doe", True, False, True, "j@x.test", "Joe", "joe", False, False, False]


def test_properties_are_read_and_set(talk: Talk) -> None:
    body = """gs.setProperty('x.mine', 'one'); gs.setProperty('x.mine', 'two');
        return [gs.getProperty('x.mine'), gs.getProperty('x.none'), gs.getProperty('x.none', 'else'),
            GlideProperties.getInt('x.none', 7)].join();"""
    assert evaluated(talk, function(body)) == "two,,else,7"
    [row] = talk.rows("sys_properties", "name=x.mine")
    assert (row["value"], row["sys_created_by"]) == ("two", "admin")


def test_logs_and_events_are_rows(talk: Talk) -> None:
    script = """gs.info('a {0} {1}', 'b', 'c'); gs.warn('careful'); gs.error('bad'); gs.debug('hidden'); gs.log('old', 'Me');
        gs.eventQueue('incident.odd', current, 'one', gs.getUserID(), 'slow');"""
    add_rule(talk, script)
    record = insert(talk)
    found = {(row["level"], row["message"], row["source"]) for row in talk.rows("syslog")}
    usual = "*** Script"
    assert found == {("0", "a b c", usual), ("1", "careful", usual), ("2", "bad", usual), ("0", "old", "Me")}
    [event] = talk.rows("sysevent")
    shown = [event[name] for name in ("name", "table", "instance", "parm1", "queue", "state", "user_name")]
    assert shown == ["incident.odd", "incident", record["sys_id"], "one", "slow", "ready", "admin"]


def test_messages_stay_in_the_session_and_do_not_reach_the_client(talk: Talk) -> None:
    add_rule(
        talk, "gs.addErrorMessage('one'); gs.addInfoMessage('two'); current.description = gs.getErrorMessages().join();"
    )
    reply = talk.post("incident", {})
    assert reply.result["description"] == "one"
    assert b"two" not in reply.body


TEXT = "Grüße, 世界 ✓"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (f"gs.base64Encode('{TEXT}')", base64.b64encode(TEXT.encode()).decode()),
        (f"gs.base64Decode(GlideStringUtil.base64Encode('{TEXT}'))", TEXT),
        (f"new GlideDigest().getSHA256Hex('{TEXT}')", hashlib.sha256(TEXT.encode()).hexdigest()),
        (f"new GlideDigest().getSHA256Base64('{TEXT}')", base64.b64encode(hashlib.sha256(TEXT.encode()).digest()).decode()),
        (f"new GlideDigest().getMD5Hex('{TEXT}')", hashlib.md5(TEXT.encode()).hexdigest()),
        ("GlideStringUtil.escapeHTML('<a href=\"x\">')", "&lt;a href=&quot;x&quot;&gt;"),
        ("GlideStringUtil.unescapeHTML('&lt;&amp;')", "<&"),
        ("GlideStringUtil.escapeQueryTermSeparator('a^b')", "a^^b"),
        ("GlideStringUtil.isEligibleSysID(gs.generateGUID())", "true"),
        ("GlideSecureRandomUtil.getSecureRandomString(12).length", "12"),
        ("GlideSecureRandomUtil.getSecureRandomIntBound(1)", "0"),
        ("gs.urlEncode('a b&c') + gs.urlDecode('%41+b')", "a+b%26cA b"),
        ("JSUtil.nil('') + ' ' + JSUtil.notNil(0)", "true true"),
        ("new ArrayUtil().unique([1, 1, 2]).join() + new ArrayUtil().diff([1, 2], [2])", "1,21"),
        ("gs.tableExists('incident') + ' ' + gs.tableExists('nope')", "true false"),
        ("getNextObjNumberPadded().slice(0, 3)", "INC"),
    ],
)  # fmt: skip
def test_texts_digests_and_small_things(talk: Talk, expression: str, text: str) -> None:
    assert evaluated(talk, expression) == text


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("HmacSHA256", "sha256"), ("HmacSHA1", "sha1"), ("HmacSHA512", "sha512"), ("HmacMD5", "md5")],
)
def test_macs_are_those_of_python(talk: Talk, algorithm: str, digest: str) -> None:
    """servicenow-api.md 8.1: the key is base64 and so is the result."""
    made = evaluated(
        talk, f"new CertificateEncryption().generateMac(gs.base64Encode('sécret'), '{algorithm}', '{TEXT}')"
    )
    assert made == base64.b64encode(hmac.digest("sécret".encode(), TEXT.encode(), digest)).decode()


def test_what_a_class_cannot_do_is_an_error_of_the_script(talk: Talk) -> None:
    add_rule(talk, "new CertificateEncryption().generateMac('not base64!', 'HmacSHA256', 'x');")
    add_rule(talk, "new CertificateEncryption().generateMac('AAAA', 'HmacNothing', 'x');")
    add_rule(talk, "try { new Packages.java.io.File('x'); } catch (e) { current.description = e.name; }", order=200)
    assert insert(talk)["description"] == "ReferenceError"
    assert sorted(line.split("\n")[0] for line in errors(talk)) == [
        "Error: Algorithm HmacNothing not available",
        "Error: not base64: Only base64 data is allowed",
    ]
