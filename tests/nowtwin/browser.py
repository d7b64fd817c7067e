"""A visitor of the web face: follows redirects, keeps cookies, reads pages and posts forms, as a browser would."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

USER = {"sys_id": "a" * 32, "user_name": "beth", "name": "Beth Anglin"}
"""A user whom a signed-in visitor's twin has."""
_VOID = frozenset({"input", "link", "meta", "br", "hr", "img"})


@dataclass(slots=True)
class Element:
    name: str
    attributes: dict[str, str | None]
    text: str = ""


class _Reader(HTMLParser):
    """Every element with the text inside it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].name == tag, f"</{tag}> closes <{self._open[-1].name}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


@dataclass(frozen=True, slots=True)
class Page:
    path: str
    status: int
    headers: Mapping[str, str]
    body: str
    elements: tuple[Element, ...]

    def all(self, name: str, **attributes: str) -> list[Element]:
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [
            e
            for e in self.elements
            if e.name == name
            and all(value in (e.attributes.get(key) or "").split(" ") for key, value in wanted.items())
        ]

    def texts(self, name: str, **attributes: str) -> list[str]:
        return [e.text.strip() for e in self.all(name, **attributes)]

    def links(self, text: str) -> list[str]:
        return [e.attributes["href"] or "" for e in self.all("a") if e.text.strip() == text]

    @property
    def messages(self) -> list[str]:
        return self.texts("p", class_="message")

    @property
    def form(self) -> dict[str, str]:
        """What a browser would post: the fields of the record's form (the first that posts)."""
        assert not any(e.name == "script" for e in self.elements)
        values: dict[str, str] = {}
        inside, select = False, ""
        for e in self.elements:
            name = e.attributes.get("name") or ""
            if e.name == "form":
                inside = e.attributes.get("method") == "post" and not values
            elif not inside:
                continue
            elif e.name == "input":
                ticked = e.attributes.get("type") != "checkbox" or "checked" in e.attributes
                if ticked and name:
                    values[name] = e.attributes.get("value") or ""
            elif e.name == "textarea":
                values[name] = e.text.removeprefix("\n")
            elif e.name == "select":
                select = name
                values[select] = ""
            elif e.name == "option" and "selected" in e.attributes:
                values[select] = e.attributes.get("value") or ""
            elif e.name == "button" and name:
                values[name] = e.attributes.get("value") or ""
        return values


@dataclass(slots=True)
class Browser:
    url: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Page:
        return self.follow(self.send("GET", path))

    def post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Page:
        kind = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
        return self.follow(self.send("POST", path, urlencode(form).encode(), kind))

    def follow(self, page: Page) -> Page:
        for _ in range(5):
            if page.status != 303:
                return page
            page = self.send("GET", page.headers["location"])
        raise AssertionError(f"redirects without end at {page.path}")

    def send(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Page:
        place = urlsplit(self.url)
        connection = HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
        sent = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items()), **(headers or {})}
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            content = answer.read().decode()
        finally:
            connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        reader = _Reader()
        if (answer.getheader("content-type") or "").startswith("text/html"):
            reader.feed(content)
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Page(path, answer.status, headers, content, tuple(reader.elements))

    def log_in(self, user: str = "admin", password: str = "admin", goto: str = "") -> Page:
        form = {"user_name": user, "user_password": password, "sys_action": "sysverb_login", "sysparm_goto_url": goto}
        return self.post("/login.do", form)

    def save(self, page: Page, **typed: str) -> Page:
        """Post the form of a page with some fields typed over (by element)."""
        form = page.form
        over = {f"{form['sys_target']}.{element}": text for element, text in typed.items()}
        assert over.keys() <= form.keys(), over.keys() - form.keys()
        return self.post(f"/{form['sys_target']}.do", form | over)
