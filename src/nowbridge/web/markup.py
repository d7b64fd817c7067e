"""HTML as values. A str is text and is escaped wherever it goes; only an `Html`, which `tag` makes, is taken as markup. So
whatever a name, an error or a record holds shows as the characters it holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

_VOID = frozenset({"input", "link", "meta", "br"})


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is safe to send as it is."""

    text: str


Child = Html | str | None


def tag(element: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """An element. Attribute names lose a trailing `_` and have `-` for `_`; True stands for a bare attribute, None and
    False for none. Children None are left out.
    """
    spelled = "".join(_attribute(key, value) for key, value in attributes.items())
    if element in _VOID:
        return Html(f"<{element}{spelled}>")
    return Html(f"<{element}{spelled}>{joined(children).text}</{element}>")


def joined(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(_text(child) for child in children if child is not None))


def link(text: Child, href: str, **attributes: str | bool | None) -> Html:
    return tag("a", text, href=href, **attributes)


def path_of(*parts: str) -> str:
    """A path of our own; each part is percent-encoded."""
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _attribute(key: str, value: str | bool | None) -> str:  # noqa: FBT001 - an attribute's value, not a flag
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


def _text(child: Html | str) -> str:
    return child.text if isinstance(child, Html) else escape(child)
