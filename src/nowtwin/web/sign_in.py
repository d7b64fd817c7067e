"""Log-in and log-out pages. The session is the one that the APIs know, in the cookie JSESSIONID."""

from nowtwin.http.messages import Answer, Headers, Request
from nowtwin.instance import Instance
from nowtwin.permission.sign_in import may_use_pages
from nowtwin.web.frame import Message, page, redirect
from nowtwin.web.markup import address, tag
from nowtwin.web.own_paths import own_path
from nowtwin.web.visitor import Visitor, form_of, refuse_foreign

PATH = "/login.do"


def session_cookie(session: str) -> Headers:
    return (("Set-Cookie", f"JSESSIONID={session}; Path=/; HttpOnly; SameSite=Lax"),)


def to_log_in(instance: Instance, request: Request) -> Answer:
    """For a visitor who is nobody: the log-in page, which leads back to where he wanted to go."""
    if not instance.switches.log_in_by_redirect:
        return show_log_in(request)
    wanted = own_path(f"{request.path}?{_text_of(request)}") if request.method == "GET" else None
    return redirect(address(PATH, sysparm_goto_url=wanted or ""))


def _text_of(request: Request) -> str:
    return address("", **dict(request.query)).removeprefix("?")


def show_log_in(request: Request, message: str = "", status: int = 200) -> Answer:
    form = tag(
        "form",
        tag("h1", "Log in"),
        tag("label", "User name", for_="user_name"),
        tag("input", id="user_name", name="user_name", autocomplete="username", autofocus=True, required=True),
        tag("label", "Password", for_="user_password"),
        tag("input", id="user_password", name="user_password", type="password", autocomplete="current-password"),
        tag("input", type="hidden", name="sysparm_goto_url", value=request.param("sysparm_goto_url")),
        tag("button", "Log in", name="sys_action", value="sysverb_login", class_="button"),
        method="post",
        action=PATH,
        class_="log-in",
    )
    return page("Log in", None, form, messages=[Message("error", message)] if message else (), status=status)


def log_in(instance: Instance, request: Request) -> Answer:
    """A session of its own for the right password. Raises Refused 403 for a form of another site."""
    refuse_foreign(request)
    form = form_of(request)
    user_name = form.get("user_name", "").strip()
    verified = instance.accounts.verify(user_name, form.get("user_password", ""))
    user = instance.user(user_name) if verified else None
    if user is None or not may_use_pages(instance, user):
        return show_log_in(request, "User name or password invalid", 401)
    session = instance.accounts.open_session(user.user_name)
    return redirect(own_path(form.get("sysparm_goto_url", "")) or "/", session_cookie(session))


def log_out(instance: Instance, visitor: Visitor) -> Answer:
    instance.accounts.close_session(visitor.session)
    return redirect(PATH, (("Set-Cookie", "JSESSIONID=; Path=/; HttpOnly; Max-Age=0"),))
