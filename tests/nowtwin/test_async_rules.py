"""Async business rules: when their condition is decided, what their jobs see, and when they do not run."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest

from nowtwin.scripting.jobs import Jobs
from tests.nowtwin.scripts import add_rule, insert, logged, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour("8.1", evidence="documentation: c_BusinessRules.md")


@pytest.mark.parametrize("when", ["async", "async_always"])
def test_async_rules_wait_as_jobs_and_run_without_previous(talk: Talk, when: str) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 600_000})
    script = "gs.info([previous, current.short_description, current.operation(), current.impact.changes(), gs.getUserName()].join());"
    add_rule(talk, script, name="Later", when=when, action_insert=False, action_update=True)
    talk.instance.add_user("joe", "secret", roles=("itil",))
    record = insert(talk)
    talk.as_user("joe", "secret").patch("incident", record["sys_id"], {"impact": "1", "short_description": "one"})
    [job] = talk.rows("sys_trigger")
    assert (job["name"], job["document"], job["document_key"]) == ("ASYNC: Later", "incident", record["sys_id"])
    assert logged(talk) == []
    assert talk.control("GET", "jobs") == {"pending": 1}
    talk.instance.load("incident", [{"sys_id": record["sys_id"], "short_description": "two", "number": "INC1"}])
    settle(talk)
    assert logged(talk) == [",two,update,false,joe"]
    assert talk.rows("sys_trigger") == []


def test_the_condition_of_an_async_rule_is_decided_when_it_is_queued(talk: Talk) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 600_000})
    script = "gs.info('ran for ' + current.impact);"
    columns = {"when": "async_always", "action_insert": False, "action_update": True}
    add_rule(talk, script, condition="current.impact.changesTo(1)", filter_condition="impactVALCHANGES", **columns)
    record = insert(talk)
    for impact in ("1", "2"):
        talk.patch("incident", record["sys_id"], {"impact": impact})
    assert talk.control("GET", "jobs") == {"pending": 1}
    settle(talk)
    assert logged(talk) == ["ran for 2"]


@pytest.mark.behaviour("8.1", evidence="assumption: what a job sees", switch="async_rules_reread")
@pytest.mark.parametrize(("reread", "seen"), [(True, "two"), (False, "one")])
def test_a_switch_says_whether_a_job_sees_the_record_as_it_is_or_as_it_was(talk: Talk, reread: bool, seen: str) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 600_000, "async_rules_reread": reread})
    add_rule(talk, "gs.info(current.short_description);", when="async")
    record = insert(talk, short_description="one")
    talk.patch("incident", record["sys_id"], {"short_description": "two"})
    settle(talk)
    assert logged(talk) == [seen]


def test_a_property_has_the_condition_checked_again_when_the_job_runs(talk: Talk) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 600_000})
    talk.post("sys_properties", {"name": "glide.businessrule.async_condition_check", "value": "true"})
    add_rule(talk, "gs.info('ran');", when="async_always", condition="current.impact == 1", filter_condition="impact=1")
    record = insert(talk, impact="1")
    talk.patch("incident", record["sys_id"], {"impact": "3"})
    insert(talk, impact="1")
    settle(talk)
    assert logged(talk) == ["ran"]


def test_an_async_rule_on_delete_has_the_record_as_it_was(talk: Talk) -> None:
    add_rule(
        talk, "gs.info('gone: ' + current.short_description);", when="async", action_insert=False, action_delete=True
    )
    talk.delete("incident", insert(talk)["sys_id"])
    settle(talk)
    assert logged(talk) == ["gone: printer on fire"]


def test_an_aborted_write_queues_nothing_and_a_deleted_trigger_does_not_run(talk: Talk) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 600_000})
    add_rule(talk, "gs.info('ran');", when="async")
    stop = add_rule(talk, "current.setAbortAction(true);")
    assert talk.post("incident", {}).status == 403
    assert talk.rows("sys_trigger") == []
    talk.delete("sys_script", stop)
    insert(talk)
    [job] = talk.rows("sys_trigger")
    talk.delete("sys_trigger", job["sys_id"])
    settle(talk)
    assert logged(talk) == []


@pytest.mark.behaviour("8.1", evidence="assumption: the delay", switch="async_rule_delay_ms")
def test_a_job_runs_by_itself_after_the_delay(talk: Talk) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 1})
    add_rule(talk, "gs.info('by itself');", when="async")
    insert(talk)
    while talk.control("GET", "jobs") != {"pending": 0}:
        pass
    assert logged(talk) == ["by itself"]


def test_a_reset_forgets_rules_and_jobs(talk: Talk) -> None:
    talk.control("PUT", "switches", {"async_rule_delay_ms": 600_000})
    add_rule(talk, "current.description = 'ran';")
    add_rule(talk, "gs.info('ran');", when="async")
    insert(talk)
    talk.control("POST", "reset")
    assert talk.control("GET", "jobs") == {"pending": 0}
    assert insert(talk)["description"] == ""


@pytest.mark.behaviour("8.1", evidence="assumption: a node has about eight workers", switch="scheduler_workers")
def test_waits_of_several_async_rules_overlap(talk: Talk) -> None:
    with meeting(patience=20) as (url, met):
        script = f"var r = new sn_ws.RESTMessageV2(); r.setEndpoint('{url}'); r.setHttpMethod('GET'); r.execute();"
        rules = [add_rule(talk, script, name=f"Calls {n}", when="async") for n in range(2)]
        insert(talk)
        settle(talk)
        assert met == [True, True]
    with meeting(patience=0.3) as (url, met):
        for rule in rules:
            talk.patch("sys_script", rule, {"script": script.replace(script.split("'")[1], url)})
        talk.control("PUT", "switches", {"scheduler_workers": 1})
        insert(talk)
        settle(talk)
        assert met == [False, False]


def test_jobs_of_one_line_run_in_their_order() -> None:
    jobs, ran = Jobs(lambda: 8), Queue[int]()
    for number in range(50):
        jobs.queue(partial(ran.put, number), 0.0, line="events")
    assert jobs.settle(20)
    jobs.stop()
    assert [ran.get_nowait() for _ in range(50)] == list(range(50))


@contextmanager
def meeting(patience: float) -> Iterator[tuple[str, list[bool]]]:
    """A server whose answers wait for a second request, so many seconds; and whether each met another."""
    met: list[bool] = []
    both = threading.Barrier(2)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                both.wait(patience)
                met.append(True)
            except threading.BrokenBarrierError:
                met.append(False)
                both.reset()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - signature of the library
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", met
        finally:
            server.shutdown()
            thread.join()
