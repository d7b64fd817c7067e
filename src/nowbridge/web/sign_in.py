"""The page that asks who it is."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import Response

from nowbridge.web.frame import Message, form, page
from nowbridge.web.markup import tag


def sign_in_page(
    form_token: str, name: str = "", messages: Sequence[Message] = (), status: HTTPStatus = HTTPStatus.OK
) -> Response:
    content = form(
        form_token,
        "/sign-in",
        tag("label", "Account", for_="name"),
        tag("input", id="name", name="name", value=name, required=True, autofocus=True, autocomplete="username"),
        tag("label", "Password", for_="password"),
        tag("input", id="password", name="password", type="password", required=True, autocomplete="current-password"),
        tag("button", "Sign in", class_="button"),
    )
    hint = tag("p", "Accounts are made on the machine that runs Nowbridge: ", tag("code", "nowbridge account add NAME"))
    return page("Sign in", None, tag("section", content, hint, class_="narrow"), messages=messages, status=status)
