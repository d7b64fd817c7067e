"""Connections, and the tab Integration credentials of each: where the instance is, who signs in, by which way, and how the
last test went. Secrets are typed in and never shown again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.responses import Response

from nowbridge.api.access import Visitor
from nowbridge.api.connections import METHODS, ConnectionView, Form, Trial, Tried
from nowbridge.api.wording import count
from nowbridge.web.frame import Message, chip, form, page, table
from nowbridge.web.markup import Child, Html, joined, link, path_of, tag

TAB: Final = "Integration credentials"
_SECRETS: Final = {
    "password": ("Password", "For OAuth with a user name, and for Basic."),
    "client_secret": ("OAuth client secret", "For every OAuth way. In ServiceNow it is behind the lock icon."),
    "api_key": ("API key", "For the way of that name."),
}
_EMPTY: Final = Form("", "oauth_password")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the form shows besides its fields: the redirect URL to copy, and the address that the instance sees."""

    redirect_uri: str
    caller_ip: str
    caller_words: str
    shared_proxy: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a form: it was not stored and is shown as it was `typed`, `trial` is how it went."""

    typed: Form | None = None
    trial: Trial | None = None
    messages: tuple[Message, ...] = ()
    status: HTTPStatus = HTTPStatus.OK


_NOTHING: Final = Outcome()


def connections_page(visitor: Visitor, views: Sequence[ConnectionView], messages: Sequence[Message] = ()) -> Response:
    rows = [
        (
            link(view.name, path_of("connections", view.name)),
            view.url,
            METHODS.get(view.auth, view.auth),
            count(view.tables),
            chip("stopped", "bad") if view.stopped else _verdict(view.tested),
        )
        for view in views
    ]
    new = link("Connect an instance", "/connections/new", class_="button") if visitor.may_configure else None
    listed = table(("Connection", "ServiceNow URL", "Authentication", "Tables", "Last test"), rows, "Connections")
    content = listed if rows else tag("p", "There is no connection yet.", class_="nothing")
    return page("Connections", visitor, content, tag("p", new) if new else None, messages=messages)


def connection_page(
    visitor: Visitor, view: ConnectionView, surroundings: Surroundings, outcome: Outcome = _NOTHING
) -> Response:
    """Without a form that was not stored, what is stored is shown, and how its last test went."""
    notes = [*outcome.messages]
    if view.stopped:
        notes.append(Message("error", f"Stopped, in both directions: {view.stopped}"))
    if view.declared_in:
        notes.append(
            Message("info", f"Read-only here: it is declared in {view.declared_in}. Change that file and apply it.")
        )
    elif not visitor.may_configure:
        notes.append(Message("info", f"Your role {visitor.role.value} sees this. Changing it needs super_admin."))
    editable = visitor.may_configure and view.declared_in is None
    shown = outcome.typed or _as_form(view)
    main = _form(visitor, shown, surroundings, view) if editable else _facts(view, surroundings)
    tested = _trial(outcome.trial or view.tested)
    again = form(visitor, path_of("connections", view.name, "test"), tag("button", "Test"))
    return page(
        view.name,
        visitor,
        _tabs(view.name),
        tag("section", tag("h2", TAB), main, id="credentials"),
        tag("section", tag("h2", "Test"), tested, again if visitor.may_configure else None, id="test"),
        messages=notes,
        status=outcome.status,
    )


def new_page(visitor: Visitor, surroundings: Surroundings, outcome: Outcome = _NOTHING) -> Response:
    steps = tag(
        "p",
        "In ServiceNow an administrator makes an account for Nowbridge and, for OAuth, an application"
        " (docs/connecting.md has each step). Use an account of its own, and no person's.",
    )
    asked = _form(visitor, outcome.typed or _EMPTY, surroundings, None)
    tried = tag("section", tag("h2", "Test"), _trial(outcome.trial)) if outcome.trial is not None else None
    content = tag("section", tag("h2", TAB), steps, asked)
    return page("Connect an instance", visitor, content, tried, messages=outcome.messages, status=outcome.status)


def leaving_page(visitor: Visitor, address: str) -> Response:
    """The browser goes on to the instance."""
    onward = tag("p", link("Continue to ServiceNow", address, class_="button"))
    why = tag("p", "ServiceNow asks you whether Nowbridge may act as you there, and brings you back here.")
    return page("Connect with ServiceNow", visitor, tag("section", why, onward), leads_to=address)


def _form(visitor: Visitor, shown: Form, around: Surroundings, view: ConnectionView | None) -> Html:
    parts = ("connections", view.name) if view is not None else ("connections", "new")
    shares = shown.proxy == "shared"
    return form(
        visitor,
        path_of(*parts),
        _field("url", "ServiceNow URL", shown.url, "https://YOURINSTANCE.service-now.com, or YOURINSTANCE alone."),
        _choice(shown.auth),
        _field("username", "Username", shown.username, "User ID of the service account. For password grant and Basic."),
        _field("client_id", "OAuth client ID", shown.client_id, "For every OAuth way, from the Application Registry."),
        *(_secret(name, *words, view) for name, words in _SECRETS.items()),
        _field("secret_expires", "Secret ends on", shown.secret_expires, "A notice comes before.", type_="date"),
        _proxy_user(around, ticked=shares),
        _field(
            "proxy",
            "Other proxy",
            "" if shares else shown.proxy,
            "http://[USER@]HOST:PORT, or none; empty: HTTPS_PROXY of the machine.",
        ),
        _field(
            "redirect_uri",
            "Redirect URL",
            around.redirect_uri,
            "Paste it into the Redirect URL of the OAuth application in ServiceNow (System OAuth > Application Registry)"
            " before you press Connect with ServiceNow.",
            readonly=True,
        ),
        _tick(
            "anyway", "Save even if the test fails", "Then nothing works until what is missing is there.", ticked=False
        ),
        tag(
            "p",
            tag("button", "Test and save", class_="button"),
            tag("button", "Connect with ServiceNow", formaction=path_of(*parts, "consent")),
            class_="buttons",
        ),
    )


def _facts(view: ConnectionView, around: Surroundings) -> Html:
    facts = {
        "ServiceNow URL": view.url,
        "Authentication": METHODS.get(view.auth, view.auth),
        "Username": view.username or "-",
        "OAuth client ID": view.client_id or "-",
        **{_SECRETS[name][0]: _kept(view) for name in view.secrets_set},
        "Secret ends on": view.secret_expires or "-",
        "Use Proxy User": "yes" if view.proxy == "shared" else "no",
        "Other proxy": "-" if view.proxy == "shared" else view.proxy or "-",
        "Address to allow-list": f"{around.caller_ip or 'not known'} ({around.caller_words})",
        "Redirect URL": around.redirect_uri,
    }
    return tag("dl", *(joined([tag("dt", name), tag("dd", value)]) for name, value in facts.items()))


def _tabs(name: str) -> Html:
    here = path_of("connections", name)
    return tag(
        "nav",
        link(TAB, f"{here}#credentials", aria_current="page"),
        link("Test", f"{here}#test"),
        class_="tabs",
        aria_label="Connection",
    )


def _field(name: str, label: str, value: str, words: Child, *, type_: str = "text", readonly: bool = False) -> Html:
    sent_as = None if readonly else name
    return _row(name, label, words, name=sent_as, type=type_, value=value, readonly=readonly, spellcheck="false")


def _secret(name: str, label: str, words: str, view: ConnectionView | None) -> Html:
    kept = view is not None and name in view.secrets_set
    told = f"{_kept(view)}. Leave it empty to keep it." if kept and view is not None else words
    return _row(name, label, told, name=name, type="password", autocomplete="new-password")


def _row(id_: str, label: str, words: Child, /, **attributes: str | bool | None) -> Html:
    """An input with its label and what there is to know of it."""
    entry = tag("input", id=id_, aria_describedby=f"{id_}-words", **attributes)
    explained = tag("p", words, class_="quiet", id=f"{id_}-words")
    return tag("div", tag("label", label, for_=id_), tag("div", entry, explained), class_="field")


def _choice(chosen: str) -> Html:
    options = (tag("option", words, value=name, selected=name == chosen) for name, words in METHODS.items())
    select = tag("select", *options, id="auth", name="auth")
    return tag("div", tag("label", "Authentication", for_="auth"), tag("div", select), class_="field")


def _proxy_user(around: Surroundings, *, ticked: bool) -> Html:
    """Its help names the address to allow-list."""
    address = tag("b", around.caller_ip) if around.caller_ip else "not known"
    by_whom = (
        f" Calls then go out by {around.shared_proxy}."
        if around.shared_proxy
        else " It needs the setting shared_proxy, which is not set."
    )
    words = joined(
        [
            "Only needed if the instance allows calls from a single IP address.",
            by_whom,
            " The IP address to allow-list is ",
            address,
            f" ({around.caller_words}).",
        ]
    )
    return _tick(
        "use_proxy_user", "Use Proxy User", words, ticked=ticked, disabled=not around.shared_proxy and not ticked
    )


def _tick(name: str, label: str, words: Child, *, ticked: bool, disabled: bool = False) -> Html:
    box = tag(
        "input",
        id=name,
        name=name,
        type="checkbox",
        value="true",
        checked=ticked,
        disabled=disabled,
        aria_describedby=f"{name}-words",
    )
    told = tag("p", words, class_="quiet", id=f"{name}-words")
    return tag("div", tag("span"), tag("div", tag("label", box, f" {label}", class_="tick"), told), class_="field")


def _kept(view: ConnectionView) -> str:
    when = view.secret_changed_at
    return f"set, last changed at {when:%Y-%m-%d %H:%M} UTC" if when is not None else "set"


def _as_form(view: ConnectionView) -> Form:
    return Form(view.url, view.auth, view.username, view.client_id, view.proxy, view.secret_expires)


def typed_form(fields: Mapping[str, str]) -> Form:
    """A posted form. A box that is ticked is there, and one that is not is left out."""
    return Form(
        fields.get("url", ""),
        fields.get("auth", ""),
        fields.get("username", "").strip(),
        fields.get("client_id", "").strip(),
        "shared" if fields.get("use_proxy_user") else fields.get("proxy", "").strip(),
        fields.get("secret_expires", "").strip(),
        {name: fields.get(name, "") for name in _SECRETS},
        bool(fields.get("anyway")),
    )


def _verdict(trial: Trial | None) -> Html:
    if trial is None:
        return chip("not tested", "soft")
    when = f"{trial.at:%Y-%m-%d %H:%M} UTC"
    return chip(f"works, {when}", "good") if trial.ok else chip(f"fails, {when}", "bad")


def _trial(trial: Trial | None) -> Html:
    """Chip, account, and each object with its result and what to do."""
    if trial is None:
        return tag("p", "Not tested yet.", class_="quiet")
    facts = tag("dl", *(joined([tag("dt", name), tag("dd", value)]) for name, value in trial.account))
    rows = [_tried(one, one.table or "sign-in") for one in (trial.sign_in, *trial.tables)]
    seen = table(("Object", "Result", "Rows", "What came back", "What to do"), rows, "Results of the test")
    warnings = (tag("p", warning, class_="quiet") for warning in trial.warnings)
    return tag("div", tag("p", _verdict(trial)), facts if trial.account else None, *warnings, seen)


def _tried(one: Tried, name: str) -> tuple[Child, ...]:
    verdict = chip("ok", "good") if one.ok else chip(one.cause, "bad")
    return (name, verdict, count(one.total), one.answered, one.hint)
