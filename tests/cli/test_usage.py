"""Help teaches, usage errors name the fault, and the program starts quickly because it imports late."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from nowbridge.cli.main import app
from scripts import cli_reference

SECRET = {"password", "secret", "secrets", "key", "token"}
COMMANDS = tuple(get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example(command: str) -> None:
    ran = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert ran.exit_code == 0
    text = ran.output
    assert f"nowbridge {command}" in text.partition("Examples")[2]
    about = text.partition("╭")[0].split("\n\n")
    assert len(" ".join(about).split()) > 12, "a sentence that says more than the name"


def test_the_first_help_shows_the_first_steps_and_the_exit_codes() -> None:
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    for step in ("init", "connect", "replicate", "up"):
        assert f"nowbridge {step}" in text
    for code in ("0  done", "1  ", "2  ", "3  ", "4  ", "130  "):
        assert code in text


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["replicate"], "at least one table"),
        (["replicate", "in cident"], "TABLE=NAME"),
        (["replicate", "incident=Bad-Name"], "TABLE=NAME"),
        (["replicate", "--preset", "everything"], "itsm"),
        (["replicate", "incident", "--query", "active=true"], "TABLE:ENCODED QUERY"),
        (["replicate", "incident", "--query", "problem:active=true"], "not among the tables"),
        (["up", "--health-port", "70000"], "65535"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_usage_is_named_and_ends_with_2(arguments: list[str], named: str) -> None:
    ran = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert ran.exit_code == 2
    assert named in " ".join(ran.output.split())


def test_help_needs_no_engine() -> None:
    """Imports decide how long `nowbridge --help` takes."""
    script = (
        "import sys, nowbridge.cli.main\n"
        "heavy = {'aiohttp', 'psycopg', 'procrastinate', 'structlog', 'starlette', 'uvicorn', 'cryptography', 'msgspec'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def all_options() -> list[Any]:
    """(command, option) of all commands, and of the commands inside them."""
    found, inside = [], [get_command(app)]
    while inside:
        command = inside.pop()
        found += [(command.name, option) for option in command.params]
        inside += getattr(command, "commands", {}).values()
    return found


def test_no_option_takes_a_secret() -> None:
    """Other users of a machine can read command lines. What may stand in one: a switch, a time, the name of a file."""
    named = [(command, option) for command, option in all_options() if SECRET.intersection(words_of(option))]
    assert named, "none is named like a secret: this test looks at nothing"
    for command, option in named:
        kind = option.type_descriptor.annotation
        assert option.is_flag or kind in {datetime, Path}, f"{command} {option.opts}"


def words_of(option: Any) -> list[str]:  # noqa: ANN401 - typer has a click of its own
    return [word for name in option.opts for word in name.strip("-").replace("_", "-").split("-")]


def test_the_page_about_the_command_line_is_what_the_program_says() -> None:
    """Renew it with scripts/cli_reference.py."""
    assert cli_reference.PAGE.read_text(encoding="utf-8") == cli_reference.page()
