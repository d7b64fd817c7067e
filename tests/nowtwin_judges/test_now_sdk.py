"""ServiceNow's own SDK builds an application, and a twin installs what came out (servicenow-api.md 8.2)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.nowtwin_judges.conftest import Site

pytestmark = [
    pytest.mark.behaviour("8.2", evidence="recorded exchange: what now-sdk 4.9.0 builds in this test"),
    pytest.mark.timeout(600),
]

APP = Path(__file__).parent / "app"


@pytest.fixture(scope="module")
def built(now_sdk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `now-sdk build` for the application beside this file."""
    folder = tmp_path_factory.mktemp("judge") / "app"
    shutil.copytree(APP, folder)
    (folder / "node_modules").symlink_to(now_sdk)
    command = [str(now_sdk / ".bin" / "now-sdk"), "build"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"PATH": os.environ["PATH"], "CI": "true", "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist" / "app"


def test_a_build_needs_no_instance_and_makes_records(built: Path) -> None:
    made = {path.relative_to(built).parts[0] for path in built.rglob("*.xml")}
    assert {"update", "dictionary", "scope"} <= made
    (rule,) = (built / "update").glob("sys_script_*.xml")
    assert '<record_update table="sys_script">' in rule.read_text()


def test_a_built_application_works_once_it_is_installed(built: Path, site: Site) -> None:
    installed = site.instance.install_app(built)
    assert (installed.kind, installed.scope, installed.name) == ("application", "x_judge_visits", "Visits")
    made = site.instance.insert("x_judge_visits_visit", {"short_description": "Ms Anglin", "purpose": "repair"})
    assert made.values["short_description"] == "Visit: Ms Anglin"
    assert made.values["number"].startswith("VST")
    assert site.instance.count("x_judge_visits_visit", "purpose=survey") == 1
    assert site.instance.dictionary.lineage("x_judge_visits_visit") == ("x_judge_visits_visit", "task")
    assert site.instance.dictionary.choice_labels("x_judge_visits_visit", "purpose")["repair"] == "Repair on site"
