"""What every page has around its content: head, bar, messages, and the headers that keep a browser from doing anything that
the page does not say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import HTMLResponse, RedirectResponse, Response

from nowbridge.api.access import Visitor
from nowbridge.model.errors import NowbridgeError
from nowbridge.web.markup import Child, Html, joined, link, tag

STYLE: Final = "/console.css"
FORM_TOKEN: Final = "form_token"  # noqa: S105 - the name of a field
GUARDS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A line above the content; `kind` is info, error or done."""

    kind: str
    text: Child


def page(
    title: str,
    visitor: Visitor | None,
    *content: Child,
    messages: Sequence[Message] = (),
    status: HTTPStatus = HTTPStatus.OK,
    leads_to: str = "",
) -> Response:
    """A whole page. `leads_to`: the browser goes on to that address by itself."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="refresh", content=f"0; url={leads_to}") if leads_to else None,
        tag("title", f"{title} | Nowbridge"),
        tag("link", rel="stylesheet", href=STYLE),
    )
    notes = (tag("div", m.text, class_=f"message {m.kind}", role="status") for m in messages)
    body = tag("body", _bar(visitor), tag("main", tag("h1", title), *notes, *content))
    text = f"<!DOCTYPE html>{tag('html', head, body, lang='en').text}"
    return HTMLResponse(text, status, headers=GUARDS)


def see(path: str) -> Response:
    """What follows a form that was taken."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, headers=GUARDS)


def form(visitor: Visitor | str, action: str, *content: Child) -> Html:
    """A form with the token that ties it to this browser."""
    token = visitor if isinstance(visitor, str) else visitor.form_token
    return tag(
        "form",
        tag("input", type="hidden", name=FORM_TOKEN, value=token),
        *content,
        method="post",
        action=action,
        autocomplete="off",
    )


def error_message(error: NowbridgeError) -> Message:
    """What was asked, what came back, what to do."""
    said = tag("p", f"{error.asked}: {error.answered}. ", tag("code", error.code))
    return Message("error", joined([said, tag("p", error.hint) if error.hint else None]))


def table(headings: Sequence[str], rows: Sequence[Sequence[Child]], caption: str) -> Html:
    """A table with a caption that is read out and not shown."""
    head = tag("thead", tag("tr", *(tag("th", heading, scope="col") for heading in headings)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", tag("caption", caption), head, body), class_="scroll")


def chip(text: str, kind: str) -> Html:
    """`kind` is good, bad or soft."""
    return tag("span", text, class_=f"chip {kind}")


def _bar(visitor: Visitor | None) -> Html:
    home = link("Nowbridge", "/", class_="home")
    if visitor is None:
        return tag("header", home)
    who = form(
        visitor,
        "/sign-out",
        tag("span", visitor.name, " ", tag("span", visitor.role.value, class_="quiet")),
        tag("button", "Sign out"),
    )
    return tag("header", home, tag("nav", link("Overview", "/"), link("Connections", "/connections")), who)
