"""The pytest plugin, as another project would use it (docs/nowtwin.md; ours, no counterpart on the platform)."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.nowtwin.test_apps import COMPANION

pytest_plugins = ("pytester",)
ROOT = Path(__file__).resolve().parents[2]
STORY = """
import json, base64
from urllib.request import Request, urlopen

def call(servicenow, method, path, body=None):
    proof = base64.b64encode(f"{servicenow.user}:{servicenow.password}".encode()).decode()
    headers = {"Authorization": f"Basic {proof}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(servicenow.url + path, data, headers, method=method), timeout=20) as answer:
        return json.load(answer)["result"]
"""


def _pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> pytest.RunResult:
    """Only this plugin, by its module: whether or not the checkout's entry points are installed."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return pytester.runpytest_subprocess("-p", "nowtwin.pytest_plugin", *arguments)


def test_the_plugin_is_found_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"nowtwin": "nowtwin.pytest_plugin"}


def test_each_test_has_an_instance_to_itself(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile(
        STORY
        + """
def test_one(servicenow):
    assert call(servicenow, "GET", "/api/now/table/incident") == []
    made = call(servicenow, "POST", "/api/now/table/incident", {"impact": "1", "urgency": "1"})
    assert made["priority"] == "1"
    servicenow.instance.add_user("carol", "pw")
    servicenow.instance.clock.freeze()

def test_two(servicenow):
    assert call(servicenow, "GET", "/api/now/table/incident") == []
    assert servicenow.instance.user("carol") is None
    assert servicenow.instance.clock.rate == 1.0

def test_three(servicenow, servicenow_session):
    assert servicenow is servicenow_session
    assert servicenow.url.startswith("http://127.0.0.1:")
"""
    )
    _pytest(pytester, monkeypatch).assert_outcomes(passed=3)


def test_the_configuration_says_what_it_starts_with(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makefile(".json", rows='{"incident": [{"short_description": "seeded"}]}')
    pytester.makeini(f"[pytest]\nnowtwin_data = rows.json\nnowtwin_apps = {COMPANION}\n")
    pytester.makepyfile(
        STORY
        + """
import pytest

@pytest.mark.parametrize("turn", [1, 2])
def test_seeded(servicenow, turn):
    assert [row["short_description"] for row in call(servicenow, "GET", "/api/now/table/incident")] == ["seeded"]
    made = call(servicenow, "POST", "/api/now/table/incident", {"short_description": "loud"})
    assert made["short_description"] == "LOUD"
"""
    )
    _pytest(pytester, monkeypatch).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nowtwin_data = nothing.json", "nowtwin_data: cannot load nothing.json"),
        ("nowtwin_apps = nothing", "nowtwin_apps: cannot install nothing: there is no file or folder"),
    ],
)
def test_a_wrong_configuration_is_told_in_words(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    pytester.makeini(f"[pytest]\n{line}\n")
    pytester.makepyfile("def test_it(servicenow): pass")
    result = _pytest(pytester, monkeypatch)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{words}*"])


def test_the_documented_tests_run_as_they_stand(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in parallel, where each process has an instance of its own."""
    pytest.importorskip("requests", reason="the documented tests use requests")
    section = (ROOT / "docs" / "nowtwin.md").read_text().split("### With pytest", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    pytester.makepyfile("\n".join(blocks))
    _pytest(pytester, monkeypatch).assert_outcomes(passed=2)
    pytest.importorskip("xdist", reason="pytest-xdist is not here")
    _pytest(pytester, monkeypatch, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=2)


def test_a_suite_without_the_fixture_starts_nothing(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makepyfile("import sys\ndef test_it(): assert 'nowtwin.instance' not in sys.modules")
    _pytest(pytester, monkeypatch).assert_outcomes(passed=1)
