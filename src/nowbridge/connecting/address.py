"""The address of an instance as people have it, and the name of a connection, which becomes a schema's name."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from nowbridge.model.errors import Stop
from nowbridge.transport.client import checked_base_url

_SUBDOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED = frozenset({"public", "nowbridge", "nowbridge_jobs", "information_schema"})


def instance_url_of(entered: str) -> str:
    """A subdomain alone stands for <it>.service-now.com, https may be left out, and what a browser shows behind the
    host is dropped. Raises Stop `settings.instance_url`.
    """
    entered = entered.strip()
    if _SUBDOMAIN.fullmatch(entered) and entered.lower() != "localhost":
        entered = f"{entered}.service-now.com"
    if "://" not in entered:
        entered = f"https://{entered}"
    try:
        parts = urlsplit(entered)
    except ValueError:
        return checked_base_url(entered)
    return checked_base_url(parts._replace(path="", query="", fragment="").geturl())


def connection_name(given: str | None, url: str) -> str:
    """The given name, else one made from the address. Raises Stop `connection.name`."""
    if not given:
        host = urlsplit(url).hostname or ""
        if host in {"127.0.0.1", "::1", "localhost"}:
            return "local"
        made = re.sub(r"[^a-z0-9]+", "_", host.partition(".")[0].lower())[:40]
        return made if _NAME.fullmatch(made) and made not in _RESERVED else f"sn_{made}"
    if not _NAME.fullmatch(given) or given in _RESERVED or given.startswith("pg_"):
        raise Stop(
            "connection.name",
            asked="name the connection",
            answered="a name has small letters, digits and _, begins with a letter, and is no reserved schema",
            hint="Its tables will stand in a schema of that name.",
        )
    return given
