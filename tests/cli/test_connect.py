"""`nowbridge connect`: what is asked for, what is refused, what is kept."""

from __future__ import annotations

import psycopg
import pytest

from nowbridge.connecting.address import connection_name, instance_url_of
from nowbridge.model.errors import Stop
from nowtwin.instance import OAUTH_CLIENT, OAUTH_SECRET
from nowtwin.testing import RunningServer
from tests.support.program import PASSWORD, Program


def stored(dsn: str) -> list[tuple[str, str, str, bytes]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SELECT name, url, auth, sealed FROM nowbridge.connection").fetchall()


@pytest.mark.req("I50", "H37", "S35", "S50", "L13")
@pytest.mark.parametrize(
    ("entered", "url"),
    [
        ("hyper-payments", "https://hyper-payments.service-now.com"),
        ("hyper-payments.service-now.com", "https://hyper-payments.service-now.com"),
        ("https://your-org.service-now.com", "https://your-org.service-now.com"),
        ("https://your-org.service-now.com/now/nav/ui/home?a=b#c", "https://your-org.service-now.com"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
    ],
)
def test_the_address_may_be_written_as_people_have_it(entered: str, url: str) -> None:
    assert instance_url_of(entered) == url


@pytest.mark.parametrize(
    "entered", ["http://acme.service-now.com", "https://me:pw@acme.service-now.com", "ftp://acme", ""]
)
def test_an_address_that_cannot_be_used_is_refused_with_its_form(entered: str) -> None:
    with pytest.raises(Stop) as refused:
        instance_url_of(entered)
    assert refused.value.code == "settings.instance_url"
    assert "pw" not in str(refused.value)


def test_a_connection_is_named_after_its_instance() -> None:
    assert connection_name(None, "https://hyper-payments.service-now.com") == "hyper_payments"
    assert connection_name(None, "http://127.0.0.1:8080") == "local"
    assert connection_name(None, "https://public.service-now.com") == "sn_public"


@pytest.mark.req("S23", "S36", "S37", "S41", "S58", "S59", "I51", "I52", "I53", "I54", "Q16", "H39")
def test_oauth_credentials_are_proved_on_the_instance_and_stored_sealed(
    program: Program, account: RunningServer, database_dsn: str
) -> None:
    ran = program.connect(account.url, "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["release"] == "Australia"
    assert told["user"]["user_name"] == "svc.nowbridge"
    assert told["user"]["name"] == "Nowbridge Service"
    assert abs(told["clock_ahead_seconds"]) < 5
    assert account.instance.calls.entries[0].path == "/oauth_token.do"
    [(name, url, auth, sealed)] = stored(database_dsn)
    assert (name, url, auth) == ("twin", account.url, "oauth_password")
    assert PASSWORD.encode() not in sealed
    assert OAUTH_SECRET.encode() not in sealed


@pytest.mark.req("S53", "H36", "H38", "S51")
def test_basic_takes_a_user_and_a_password_only(program: Program, account: RunningServer, database_dsn: str) -> None:
    ran = program.run(
        *("connect", account.url, "--auth", "basic", "--username", "svc.nowbridge", "--password-stdin"),
        stdin=f"{PASSWORD}\n",
    )
    assert ran.code == 0, ran.err
    assert "signed in as  svc.nowbridge" in ran.out
    assert stored(database_dsn)[0][2] == "basic"


@pytest.mark.req("I49", "I55", "H48")
@pytest.mark.parametrize("auth", ["oauth", "basic"])
def test_a_wrong_password_is_refused_with_a_reason_and_nothing_is_stored(
    program: Program, account: RunningServer, database_dsn: str, auth: str
) -> None:
    ran = program.connect(account.url, auth=auth, password="not-this-one")
    assert ran.code == 3
    assert "[auth.refused]" in ran.err
    assert "password" in ran.err
    assert "not-this-one" not in ran.out + ran.err
    assert stored(database_dsn) == []


@pytest.mark.req("S4")
def test_an_instance_out_of_reach_is_another_kind_of_trouble(program: Program, database_dsn: str) -> None:
    ran = program.connect("http://127.0.0.1:1", "--json")
    assert ran.code == 4
    assert ran.json["error"]["code"] == "network.unreachable"
    assert stored(database_dsn) == []


@pytest.mark.req("S62", "S63")
def test_a_client_secret_that_ended_is_named_and_replaced_without_a_new_connection(
    program: Program, account: RunningServer, database_dsn: str
) -> None:
    assert program.connect(account.url).code == 0
    renewed = "regenerated-in-the-oauth-registry"
    account.instance.add_oauth_client(OAUTH_CLIENT, renewed, name="regenerated")
    refused = program.run("check", "--json")
    assert refused.code == 1
    assert (refused.json["sign_in"]["cause"], refused.json["sign_in"]["code"]) == ("credentials", "auth.refused")
    assert "secret" in refused.json["sign_in"]["hint"]
    before = stored(database_dsn)
    ran = program.run(
        *("connect", account.url, "--name", "twin", "--username", "svc.nowbridge", "--client-id", OAUTH_CLIENT),
        NOWBRIDGE_PASSWORD=PASSWORD,
        NOWBRIDGE_CLIENT_SECRET=renewed,
    )
    assert ran.code == 0, ran.err
    assert [row[:3] for row in stored(database_dsn)] == [row[:3] for row in before]
    assert program.run("check").code == 0


def test_connecting_again_replaces_the_credentials(program: Program, account: RunningServer, database_dsn: str) -> None:
    assert program.connect(account.url, auth="basic").code == 0
    before = stored(database_dsn)[0][3]
    account.instance.add_user("svc.nowbridge", "another-one-entirely", roles=("admin",))
    assert program.connect(account.url, auth="basic", password="another-one-entirely").code == 0
    [(_, _, _, sealed)] = stored(database_dsn)
    assert sealed != before
    assert program.run("check").code == 0


@pytest.mark.req("S52")
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--auth", "basic"), "--username"),
        (("--auth", "basic", "--username", "u"), "NOWBRIDGE_PASSWORD"),
        (("--auth", "oauth", "--username", "u"), "--client-id"),
        (("--auth", "oauth", "--username", "u", "--client-id", OAUTH_CLIENT), "NOWBRIDGE_CLIENT_SECRET"),
        (("--auth", "client-credentials", "--client-id", OAUTH_CLIENT), "NOWBRIDGE_CLIENT_SECRET"),
        (("--auth", "api-key"), "NOWBRIDGE_API_KEY"),
        (("--auth", "basic", "--username", "u", "--password-stdin"), "standard input holds nothing"),
        (("--auth", "basic", "--name", "public"), "--name"),
        (("--auth", "magic"), "--auth"),
    ],
)
def test_what_is_missing_is_named(arguments: tuple[str, ...], named: str) -> None:
    from typer.testing import CliRunner

    from nowbridge.cli.main import app

    variables: dict[str, str | None] = dict.fromkeys(
        ("NOWBRIDGE_PASSWORD", "NOWBRIDGE_CLIENT_SECRET", "NOWBRIDGE_API_KEY")
    )
    ran = CliRunner().invoke(app, ["connect", "acme", *arguments], env={**variables, "COLUMNS": "200"})
    assert ran.exit_code == 2
    assert named in " ".join(ran.output.split())
