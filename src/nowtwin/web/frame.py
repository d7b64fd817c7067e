"""What every page has around its content: head, bar with the search, messages; and the answer it goes out in."""

from collections.abc import Sequence
from dataclasses import dataclass

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.http.messages import Answer, Headers
from nowtwin.web.markup import Child, Html, joined, link, tag

STYLE = "/styles/nowtwin.css"
_HTML = "text/html;charset=UTF-8"
_GUARDS: Headers = (
    (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
)


@dataclass(frozen=True, slots=True)
class Message:
    """A line above the content; `kind` is `info`, `error` or `done`."""

    kind: str
    text: str


def page(
    title: str, user: User | None, *content: Child, messages: Sequence[Message] = (), status: int = 200, rows: int = 0
) -> Answer:
    """A whole page; `rows` says how many records stand on it."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} | nowtwin"),
        tag("link", rel="stylesheet", href=STYLE),
    )
    notes = (tag("p", m.text, class_=f"message {m.kind}", role="alert") for m in messages)
    body = tag("body", _bar(user), tag("main", *notes, *content))
    text = "<!DOCTYPE html>" + tag("html", head, body, lang="en").text
    return Answer(status, text.encode(), _GUARDS, content_type=_HTML, rows=rows)


def _bar(user: User | None) -> Html:
    home = link("nowtwin", "/", class_="home")
    if user is None:
        return tag("header", home)
    search = tag(
        "form",
        tag(
            "input",
            type="search",
            name="sysparm_search",
            placeholder="Search modules, tables, numbers",
            aria_label="Search",
        ),
        method="get",
        action="/",
        class_="search",
    )
    who = tag("span", user.name, class_="who")
    return tag("header", home, search, who, link("Log out", "/logout.do", class_="quiet"))


def failure(refused: Refused, user: User | None) -> Answer:
    """A page that says in words why there is no other."""
    detail = tag("p", refused.detail) if refused.detail else None
    back = tag("p", link("To the start page", "/"))
    return page(refused.message, user, tag("h1", refused.message), detail, back, status=refused.status)


def redirect(location: str, headers: Headers = ()) -> Answer:
    """To an own path. 303, so that a posted form becomes a read."""
    return Answer(303, headers=(("Location", location), *headers), content_type=None)


def section(title: Child, *content: Child, class_: str = "") -> Html:
    return tag("section", tag("h2", title), *content, class_=class_ or None)


def folded(title: Child, content: Sequence[Child], *, opened: bool = False) -> Html:
    """Content that shows on a click."""
    return tag("details", tag("summary", title), joined(content), open=opened)
