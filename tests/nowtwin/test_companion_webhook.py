"""A companion application as the product would ship one: a scoped app in an update set, whose async rule on incident
tells a webhook about every write, signed. Installed, configured and used over HTTP alone.
"""

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from tests.nowtwin.hook import Hook
from tests.nowtwin.scripts import errors, insert, settle
from tests.nowtwin.talk import Talk

pytestmark = pytest.mark.behaviour(
    "8.1", evidence="documentation: c_BusinessRules.md, RESTMessageV2, CertificateEncryption"
)

UPDATE_SET = Path(__file__).parent / "webhook_update_set.xml"
SECRET = "a shared secret"


@pytest.fixture
def companion(talk: Talk) -> Talk:
    """The update set is committed."""
    installed = talk.call("POST", "/_nowtwin/apps", UPDATE_SET.read_bytes())
    assert installed.status == 200, installed.body
    assert installed.json["scope"] == "x_nowt_hook"
    return talk


def configure(talk: Talk, url: str) -> None:
    for name, value in (("url", url), ("secret", SECRET)):
        (row,) = talk.rows("sys_properties", f"name=x_nowt_hook.{name}")
        assert talk.patch("sys_properties", row["sys_id"], {"value": value}).status == 200


def told(hook: Hook) -> dict[str, Any]:
    """What the webhook was told next; the signature is right."""
    seen = hook.seen.get(timeout=60)
    assert (seen.method, seen.path, seen.headers["content-type"]) == ("POST", "/in", "application/json")
    signature = base64.b64encode(hmac.digest(SECRET.encode(), seen.body.encode(), "sha256")).decode()
    assert seen.headers["x-webhook-signature"] == f"sha256={signature}"
    message: dict[str, Any] = json.loads(seen.body)
    return message


def test_every_write_reaches_the_webhook_signed(companion: Talk, hook: Hook) -> None:
    configure(companion, f"{hook.url}/in")
    sys_id = insert(companion)["sys_id"]
    settle(companion)
    about = {"table": "incident", "sys_id": sys_id}
    assert told(hook) == about | {"operation": "insert", "sys_mod_count": 0}
    companion.patch("incident", sys_id, {"short_description": "again"})
    settle(companion)
    assert told(hook) == about | {"operation": "update", "sys_mod_count": 1}
    companion.delete("incident", sys_id)
    settle(companion)
    assert told(hook) == about | {"operation": "delete", "sys_mod_count": 1}
    assert errors(companion) == []


def test_writes_of_users_without_rights_on_the_application_are_told_too(companion: Talk, hook: Hook) -> None:
    configure(companion, f"{hook.url}/in")
    companion.control("PUT", "switches", {"access_control": True})
    companion.instance.add_user("ida", "p", roles=("itil",))
    sys_id = insert(companion.as_user("ida", "p"))["sys_id"]
    settle(companion)
    assert told(hook)["sys_id"] == sys_id


def test_a_webhook_that_fails_is_a_log_entry_and_the_write_stands(companion: Talk, hook: Hook) -> None:
    configure(companion, f"{hook.url}/503")
    sys_id = insert(companion)["sys_id"]
    settle(companion)
    assert errors(companion) == ["Webhook: 503 Method failed: (/503) with code: 503"]
    assert companion.get(f"table/incident/{sys_id}").status == 200


def test_without_a_url_or_with_its_rule_switched_off_nothing_is_sent(companion: Talk, hook: Hook) -> None:
    insert(companion)
    settle(companion)
    configure(companion, f"{hook.url}/in")
    (rule,) = companion.rows("sys_script", "name=Tell the webhook")
    companion.patch("sys_script", rule["sys_id"], {"active": "false"})
    insert(companion)
    settle(companion)
    assert hook.seen.empty()
    assert errors(companion) == []


def test_writes_that_hide_from_rules_are_not_told(companion: Talk, hook: Hook) -> None:
    configure(companion, f"{hook.url}/in")
    sys_id = insert(companion)["sys_id"]
    settle(companion)
    told(hook)
    script = f"var r = new GlideRecord('incident'); r.get('{sys_id}'); r.impact = 1; r.setWorkflow(false); r.update();"
    start = {"name": "Silent", "script": script, "run_type": "once", "run_start": "2020-01-01 00:00:00", "active": True}
    companion.post("sysauto_script", start)
    settle(companion)
    assert companion.get(f"table/incident/{sys_id}").result["impact"] == "1"
    assert hook.seen.empty()
