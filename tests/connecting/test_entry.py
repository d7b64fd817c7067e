"""What a person enters becomes a way to sign in; what is missing is named, and a stored secret stays with its address."""

from __future__ import annotations

import pytest

from nowbridge.connecting.entry import TAKES, Credentials, Entered, SignIn, sign_in_of
from nowbridge.model.errors import Stop

HERE = "https://acme.service-now.com"
HELD = SignIn("oauth_password", "u", "c", Credentials(password="p", client_secret="s", proxy_password="x"))


def test_only_what_the_way_takes_is_kept() -> None:
    made = sign_in_of(Entered(HERE, "basic", "u", "c", {"password": "new", "api_key": "k"}), HELD, HERE)
    assert (made.username, made.client_id) == ("u", None)
    assert made.credentials == Credentials(password="new", proxy_password="x")


def test_empty_secrets_stay_as_they_are() -> None:
    made = sign_in_of(Entered(HERE, "oauth_password", "u", "c", {"password": ""}), HELD, HERE)
    assert made.credentials == HELD.credentials


@pytest.mark.parametrize("auth", TAKES)
def test_nothing_stored_goes_to_another_address(auth: str) -> None:
    with pytest.raises(Stop) as refused:
        sign_in_of(Entered("https://evil.example", auth, "u", "c"), HELD, HERE)
    assert refused.value.code == "connection.incomplete"


@pytest.mark.parametrize(
    "entered",
    [
        Entered(HERE, "basic", "", "", {"password": "p"}),
        Entered(HERE, "oauth_password", "u", "", {"password": "p", "client_secret": "s"}),
        Entered(HERE, "basic", "u"),
        Entered(HERE, "saml", "u", "c", {"password": "p"}),
        Entered(HERE, "basic", "u", "", {"password": "p"}, {"proxy": "http://u:pw@p:1"}),
    ],
)
def test_what_is_missing_is_named(entered: Entered) -> None:
    with pytest.raises(Stop) as refused:
        sign_in_of(entered, None, "")
    assert refused.value.code == "connection.incomplete"
    assert "pw" not in str(refused.value)
