"""Settings come from the home's file and the environment, are checked, and are documented."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from nowbridge import settings
from nowbridge.model.errors import Stop
from nowbridge.settings import Settings, load
from nowbridge.wiring.workers import duties_of, write_settings_of
from nowbridge.writethrough.settling import OnAbort

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def _home(folder: Path, text: str = "") -> dict[str, str]:
    (folder / settings.FILE).write_text(text, encoding="utf-8")
    return {"NOWBRIDGE_HOME": str(folder)}


def _refusal(environment: dict[str, str]) -> Stop:
    with pytest.raises(Stop) as refused:
        load(environment)
    return refused.value


def test_nothing_set_gives_the_documented_defaults(tmp_path: Path) -> None:
    read = load({"HOME": str(tmp_path)})
    assert read == Settings(home=str(tmp_path / ".nowbridge"))
    assert read.key_path == tmp_path / ".nowbridge" / "master.key"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"NOWBRIDGE_HOME": "/srv/nb", "HOME": "/h"}, "/srv/nb"),
        ({"HOME": "/h"}, "/h/.nowbridge"),
        ({}, ".nowbridge"),
        ({"HOME": "", "NOWBRIDGE_HOME": ""}, ".nowbridge"),
    ],
)
def test_the_home_is_found_with_and_without_a_users_home(environment: dict[str, str], expected: str) -> None:
    assert settings.home_of(environment) == Path(expected)


def test_the_home_is_absolute_so_that_changing_folders_changes_nothing() -> None:
    assert Path(load({}).home).is_absolute()


def test_a_home_given_on_the_command_line_wins(tmp_path: Path) -> None:
    assert load({"NOWBRIDGE_HOME": "/elsewhere"}, home=tmp_path).home == str(tmp_path)


def test_the_environment_wins_over_the_file_and_empty_counts_as_not_set(tmp_path: Path) -> None:
    environment = _home(tmp_path, "health_port = 9100\npoll_seconds = 5\npage_rows = 10\n")
    environment |= {"NOWBRIDGE_HEALTH_PORT": "9200", "NOWBRIDGE_PAGE_ROWS": ""}
    read = load(environment)
    assert (read.health_port, read.poll_seconds, read.page_rows) == (9200, 5.0, 10)


@pytest.mark.parametrize(("given", "path"), [("keys/k", "keys/k"), ("/etc/nb.key", "/etc/nb.key")])
def test_the_key_file_counts_from_the_home_unless_absolute(tmp_path: Path, given: str, path: str) -> None:
    assert load(_home(tmp_path) | {"NOWBRIDGE_KEY_FILE": given}).key_path == tmp_path / path


def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    refused = _refusal(_home(tmp_path, "healthport = 1\n"))
    assert refused.code == "settings.unknown"
    assert "healthport" in refused.answered
    assert refused.hint.startswith("Did you mean health_port?")
    assert str(tmp_path / settings.FILE) in refused.asked


def test_the_home_cannot_be_set_in_its_own_file(tmp_path: Path) -> None:
    assert _refusal(_home(tmp_path, 'home = "/x"\n')).code == "settings.unknown"


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("health_port = 0", "a whole number from 1 to 65535"),
        ("health_port = 65536", "a whole number from 1 to 65535"),
        ("health_port = '80'", "a whole number from 1 to 65535"),
        ("health_port = true", "a whole number from 1 to 65535"),
        ("poll_seconds = 0", "a number above 0 to 86400"),
        ("poll_seconds = nan", "a number above 0 to 86400"),
        ("poll_seconds = inf", "a number above 0 to 86400"),
        ("log_level = 'loud'", "debug, info, warning, error"),
        ("key_file = 3", "a path"),
        ("database_url = 'mysql://h/d'", "a URL `postgresql://...`"),
        ("database_url = 3", "a URL `postgresql://...`"),
        ("health_host = 3", "an IP address"),
        ("[page_rows]", "a whole number from 1 to 10000"),
    ],
)
def test_a_bad_value_in_the_file_says_what_where_and_what_is_allowed(tmp_path: Path, line: str, allowed: str) -> None:
    refused = _refusal(_home(tmp_path, line))
    assert refused.code == "settings.value"
    assert str(tmp_path / settings.FILE) in refused.asked
    assert f"Allowed: {allowed}." in refused.hint


@pytest.mark.parametrize("text", ["", "no", "1e9", "0", "-1", "1.5", "none"])
@pytest.mark.parametrize("variable", ["NOWBRIDGE_PAGE_ROWS", "NOWBRIDGE_POSTGRES_PORT"])
def test_a_bad_value_in_the_environment_names_the_variable(tmp_path: Path, variable: str, text: str) -> None:
    environment = _home(tmp_path) | {variable: text}
    if text == "":
        assert load(environment) == load(_home(tmp_path))
        return
    refused = _refusal(environment)
    assert refused.code == "settings.value"
    assert variable in refused.asked


def test_a_file_that_is_no_toml_says_in_which_line(tmp_path: Path) -> None:
    refused = _refusal(_home(tmp_path, "page_rows = 1\npage rows = 2\n"))
    assert refused.code == "settings.file"
    assert "line 2" in refused.answered


def test_a_file_that_cannot_be_read_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / settings.FILE).mkdir()
    assert _refusal({"NOWBRIDGE_HOME": str(tmp_path)}).code == "settings.file"


def test_an_empty_database_url_means_the_embedded_one(tmp_path: Path) -> None:
    assert load(_home(tmp_path, "database_url = ''\n")).database_url == ""


def test_settings_hold_no_password(tmp_path: Path) -> None:
    refused = _refusal(_home(tmp_path, "database_url = 'postgresql://u:s3cret@h/d'\n"))
    assert refused.code == "settings.value"
    assert "s3cret" not in str(refused)
    assert "DATABASE_URL" in refused.hint


def test_the_environments_database_url_shows_in_no_representation_and_no_error(tmp_path: Path) -> None:
    url = "postgresql://u:s3cret@h/d"
    read = load(_home(tmp_path) | {"DATABASE_URL": url})
    assert read.database_url == url
    assert "s3cret" not in repr(read)
    assert "s3cret" not in str(_refusal(_home(tmp_path) | {"DATABASE_URL": "mysql://u:s3cret@h/d"}))


@pytest.mark.parametrize("name", ["stalled_after_seconds", "lease_seconds"])
def test_times_that_would_lose_work_to_one_missed_heartbeat_are_refused(tmp_path: Path, name: str) -> None:
    values = {"heartbeat_seconds": 10, "stalled_after_seconds": 60, "lease_seconds": 60} | {name: 19}
    refused = _refusal(_home(tmp_path, "".join(f"{key} = {value}\n" for key, value in values.items())))
    assert refused.code == "settings.value"
    assert name in refused.asked


@pytest.mark.parametrize("host", ["everywhere", "localhost", "10.0.0", "http://10.0.0.1"])
def test_to_listen_elsewhere_takes_an_address(tmp_path: Path, host: str) -> None:
    assert load(_home(tmp_path)).health_host == "127.0.0.1"
    assert load(_home(tmp_path) | {"NOWBRIDGE_HEALTH_HOST": "::1"}).health_host == "::1"
    refused = _refusal(_home(tmp_path) | {"NOWBRIDGE_HEALTH_HOST": host})
    assert refused.code == "settings.value"
    assert "an IP address" in refused.hint


def test_the_page_and_the_class_say_the_same() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {name: (variable, default, allowed, meaning) for name, variable, default, allowed, meaning in rows}
    actual = {
        field.name: (
            settings.VARIABLES[field.name],
            _default(field),
            settings.allowed(field.name),
            settings.description(field.name),
        )
        for field in msgspec.structs.fields(Settings)
    }
    assert documented == actual


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "see above"
    if field.default in ("", None):
        return "none"
    return f"`{field.default:g}`" if isinstance(field.default, float) else f"`{field.default}`"


@pytest.mark.req("Q26")
def test_the_settings_of_sql_writes_reach_those_who_write(tmp_path: Path) -> None:
    """Limits, what becomes of a failed COMMIT, the longest transaction of the instance, and how long the log is kept."""
    text = "write_rows = 7\nwrite_deletes = 3\nwrite_on_abort = 'keep'\nwrite_longest_seconds = 5.5\nkeep_writes_days = 2\n"
    read = load(_home(tmp_path, text))
    made = write_settings_of(read)
    assert (made.most_rows, made.most_deletes, made.on_abort, made.manner.longest) == (7, 3, OnAbort.KEEP, 5.5)
    assert duties_of(read).keep_writes == timedelta(days=2)
