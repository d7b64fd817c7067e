"""Who looks at a page: the signed-in user, the session, and the token that ties forms to it (`sysparm_ck`).

A write is taken only with the token of the session it comes in, so that a page of another site cannot make a signed-in
browser write. The token is derived from the session id, which no other site can read; it has the 72 characters of the
platform's.
"""

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.http.messages import Request

_LENGTH = 72


@dataclass(frozen=True, slots=True)
class Visitor:
    user: User | None
    session: str = ""
    fresh: bool = False
    """The session was opened for this request, so its cookie must be sent."""

    @property
    def token(self) -> str:
        return hashlib.sha512(b"sysparm_ck" + self.session.encode()).hexdigest()[:_LENGTH]


def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form; of a field given twice the last counts. Raises Refused 400 for no form."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(400, "This page takes forms", f"It cannot read the content type {kind or '(none)'}.")
    return dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))


def refuse_foreign(request: Request) -> None:
    """Raises Refused 403 for a form that a page of another site sent."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        raise Refused(403, "Form refused", "It was sent by a page of another site.")


def refuse_unproven(visitor: Visitor, form: dict[str, str]) -> None:
    """Raises Refused 403 for a form without the token of its session."""
    if not hmac.compare_digest(form.get("sysparm_ck", "").encode(), visitor.token.encode()):
        raise Refused(
            403, "Form refused", "Its token (sysparm_ck) is not of your session. Load the page and try again."
        )
