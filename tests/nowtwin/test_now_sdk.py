"""ServiceNow's own `now-sdk` (npm @servicenow/sdk 4.9.0) builds a small application and installs it on the twin.

Evidence: the tool itself. It is installed once into `.cache/now-sdk` of the checkout; without npm, or where the package
cannot be installed, these tests are skipped and say so.
"""

import fcntl
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nowtwin.testing import RunningServer
from tests.nowtwin.talk import Talk

pytestmark = [
    pytest.mark.behaviour("8.2", evidence="recorded exchange: now-sdk 4.9.0 itself"),
    pytest.mark.timeout(900),
]

ROOT = Path(__file__).resolve().parents[2]
SDK = ROOT / ".cache" / "now-sdk"
VERSION = "4.9.0"
SCOPE = "x_nwtw_companion"
SOURCE = """
import { BusinessRule, Table, StringColumn, IntegerColumn, Record } from '@servicenow/sdk/core'

export const x_nwtw_companion_note = Table({
    name: 'x_nwtw_companion_note',
    label: 'Companion Note',
    display: 'title',
    allowWebServiceAccess: true,
    schema: {
        title: StringColumn({ label: 'Title', maxLength: 100 }),
        kind: StringColumn({
            label: 'Kind',
            choices: { idea: { label: 'An idea' }, fact: { label: 'A fact' } },
            dropdown: 'dropdown_with_none',
        }),
        weight: IntegerColumn({ label: 'Weight', default: 5 }),
    },
})

BusinessRule({
    $id: Now.ID['loud'],
    name: 'Companion: loud',
    table: 'incident',
    when: 'before',
    action: ['insert'],
    script: `(function executeRule(current, previous) {
        current.short_description = current.short_description + '!';
    })(current, previous);`,
})

Record({ $id: Now.ID['first'], table: 'x_nwtw_companion_note', data: { title: 'First note', kind: 'idea' } })
"""


def _run(folder: Path, *command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


@pytest.fixture(scope="session")
def now_sdk() -> Path:
    """The program, installed once for all runs; test processes that run in parallel wait for the one that installs."""
    if shutil.which("npm") is None:
        pytest.skip("now-sdk is not tried: there is no npm on this machine")
    SDK.mkdir(parents=True, exist_ok=True)
    with (SDK / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (SDK / f"made-{VERSION}").is_file():
            (SDK / "package.json").write_text(json.dumps({"name": "tools", "version": "1.0.0", "private": True}))
            install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"@servicenow/sdk@{VERSION}")
            done = _run(SDK, *install)
            if done.returncode:
                pytest.skip(f"now-sdk is not tried: npm cannot install it: {done.stderr[-400:]}")
            (SDK / f"made-{VERSION}").touch()
    return SDK / "node_modules" / ".bin" / "now-sdk"


@pytest.fixture(scope="module")
def built(now_sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one table, one business rule and one record, built by the tool."""
    folder = tmp_path_factory.mktemp("companion")
    (folder / "src" / "fluent").mkdir(parents=True)
    (folder / "src" / "fluent" / "index.now.ts").write_text(SOURCE)
    config = {"scope": SCOPE, "scopeId": "5b1f0c2d3e4a4b6c8d9e0f1a2b3c4d5e", "name": "Nowtwin Companion"}
    (folder / "now.config.json").write_text(json.dumps(config))
    package = {"name": "nowtwin-companion", "version": "1.0.0", "private": True, "license": "UNLICENSED"}
    (folder / "package.json").write_text(json.dumps(package | {"devDependencies": {"@servicenow/sdk": VERSION}}))
    (folder / "node_modules").symlink_to(now_sdk.parents[1])
    done = _run(folder, str(now_sdk), "build")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_a_built_project_is_installed_from_its_folder(built: Path, talk: Talk) -> None:
    installed = talk.instance.install_app(built)
    assert (installed.scope, installed.version, installed.learned) == (SCOPE, "1.0.0", ())
    notes = talk.rows("x_nwtw_companion_note", sysparm_display_value="true", sysparm_fields="title,kind")
    assert notes == [{"title": "First note", "kind": "An idea"}]
    assert talk.post("x_nwtw_companion_note", {"title": "x"}).result["weight"] == "5"
    assert talk.post("incident", {"short_description": "hello"}).result["short_description"] == "hello!"


def test_now_sdk_installs_and_reinstalls_on_the_twin(built: Path, now_sdk: Path, twin: RunningServer) -> None:
    environment = {
        "SN_SDK_NODE_ENV": "SN_SDK_CI_INSTALL",
        "SN_SDK_AUTH_TYPE": "basic",
        "SN_SDK_INSTANCE_URL": twin.url,
        "SN_SDK_USER": "admin",
        "SN_SDK_USER_PWD": "admin",
    }
    done = _run(built, str(now_sdk), "install", environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    talk = Talk(twin.url, twin.instance)
    assert talk.rows("sys_app", f"scope={SCOPE}", sysparm_fields="name") == [{"name": "Nowtwin Companion"}]
    assert talk.names("x_nwtw_companion_note", "", "title") == ["First note"]
    assert talk.post("incident", {"short_description": "hello"}).result["short_description"] == "hello!"
    again = _run(built, str(now_sdk), "install", "--reinstall", environment=environment)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Successfully uninstalled application" in again.stdout + again.stderr
    assert talk.names("x_nwtw_companion_note", "", "title") == ["First note"]


def test_now_sdk_says_why_a_log_in_fails(built: Path, now_sdk: Path, twin: RunningServer) -> None:
    environment = {
        "SN_SDK_NODE_ENV": "SN_SDK_CI_INSTALL",
        "SN_SDK_INSTANCE_URL": twin.url,
        "SN_SDK_USER": "admin",
        "SN_SDK_USER_PWD": "wrong",
    }
    done = _run(built, str(now_sdk), "install", environment=environment)
    assert done.returncode != 0
    assert "User name or password invalid" in done.stdout + done.stderr
    assert twin.instance.count("sys_app") == 0
