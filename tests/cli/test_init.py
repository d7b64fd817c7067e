"""`nowbridge init` on a Postgres of the user's own; tests/acceptance has the embedded one."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support.program import Program, environment_for


def test_repeating_init_changes_nothing(program: Program) -> None:
    key = Path(program.environment["NOWBRIDGE_HOME"], "master.key")
    before = key.read_bytes()
    ran = program.run("init", "--json")
    assert ran.code == 0
    assert ran.json == {
        "home": str(key.parent),
        "key": str(key),
        "key_made": False,
        "embedded": False,
        "migrations": [],
    }
    assert key.read_bytes() == before


def test_home_and_key_are_closed_to_others(program: Program) -> None:
    home = Path(program.environment["NOWBRIDGE_HOME"])
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "master.key").stat().st_mode) == 0o600


def test_init_says_what_comes_next(program: Program) -> None:
    assert "Next: nowbridge connect" in program.run("init").out


def test_before_init_every_command_says_so(tmp_path: Path) -> None:
    ran = Program(environment_for(tmp_path)).run("status")
    assert ran.code == 3
    assert "[home.empty]" in ran.err
    assert "nowbridge init" in ran.err


def test_a_database_that_does_not_answer_is_named_in_three_parts(tmp_path: Path) -> None:
    program = Program({**environment_for(tmp_path), "DATABASE_URL": "postgresql://me:sesame@127.0.0.1:1/nowbridge"})
    ran = program.run("init")
    assert ran.code == 4
    assert ran.err.startswith("Asked:    ")
    assert "\nAnswered: " in ran.err
    assert "[database.unreachable]\nDo:       " in ran.err
    assert "sesame" not in ran.err


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = Program(environment_for(tmp_path)).run("--home", str(tmp_path / "file" / "home"), "init")
    assert ran.code == 3
    assert str(tmp_path / "file" / "home") in ran.err
