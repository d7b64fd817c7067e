"""The guide to connecting an instance says what has to be done in ServiceNow, and what it says works."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from nowbridge.connecting.presets import PRESETS
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from nowtwin.testing import RunningServer

GUIDE = Path(__file__).parents[2] / "docs" / "connecting.md"


def text() -> str:
    return " ".join(GUIDE.read_text(encoding="utf-8").split())


@pytest.mark.req("S1")
def test_it_says_first_that_an_administrator_is_needed() -> None:
    assert "You need an administrator of the ServiceNow instance" in text()[:200]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param("System OAuth > Application Registry > New", marks=pytest.mark.req("Q12")),
        pytest.param("Create an OAuth API endpoint for external clients", marks=pytest.mark.req("Q12")),
        pytest.param("*Name* `Nowbridge`, a *Description* of your own. *Redirect URL*", marks=pytest.mark.req("Q13")),
        pytest.param("`https://<your Nowbridge>/auth/servicenow/callback`", marks=pytest.mark.req("S20")),
        pytest.param("Configuring it there needs the role `super_admin`", marks=pytest.mark.req("S3")),
        pytest.param("*Submit*. Note the *Client ID*", marks=pytest.mark.req("Q13")),
        pytest.param(
            "*System Security > Roles > New*, *Name* for instance `oauth_role`, *Submit*", marks=pytest.mark.req("Q14")
        ),
        pytest.param("*User Administration > Users*", marks=pytest.mark.req("Q15")),
        pytest.param("*Roles > Edit*, add that role, *Save*", marks=pytest.mark.req("Q15")),
        pytest.param("*Access Token Lifespan* at 1800 seconds", marks=pytest.mark.req("S21")),
        pytest.param("*Refresh Token Lifespan* at 8640000 seconds (100 days)", marks=pytest.mark.req("S22")),
    ],
)
def test_it_names_each_step(step: str) -> None:
    assert step in text()


@pytest.mark.req("S24")
def test_its_command_gets_a_token(twin: RunningServer) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, so the guide's command cannot be tried")
    command = re.search(r"```sh\n(curl .*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert command is not None
    values = {
        "$CLIENT_ID": OAUTH_CLIENT,
        "$CLIENT_SECRET": OAUTH_SECRET,
        "$USER_NAME": "admin",
        "$PASSWORD": "admin",
        "$INSTANCE": twin.url,
    }
    words = shlex.split(command[1].replace("\\\n", " "))
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    done = subprocess.run([*words, "--silent"], capture_output=True, text=True, timeout=30, check=True)
    assert '"access_token"' in done.stdout


@pytest.mark.req("Q11")
def test_every_collection_says_whether_it_can_be_read_and_written() -> None:
    rows = re.findall(
        r"^\| (.+?) \| (.+?) \| (yes|no)\b.*? \| (\S.*?) \|$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {table for _, tables, _, _ in rows for table in re.findall(r"`(\w+)`", tables)}
    wanted = {name.partition("=")[0] for names in PRESETS.values() for name in names}
    assert wanted <= told
    assert len(rows) == 17
