"""From which IP address an instance is called: what an administrator of ServiceNow has to allow where callers are limited."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Caller:
    """`address` is empty where it cannot be known; `words` say how it is known, or how it can be made known."""

    address: str
    words: str


async def caller_of(url: str, proxy: str | None, named: str) -> Caller:
    """`named` is what the setting caller_ip says; it wins. `proxy` is the way out of the connection, if it has one."""
    if named:
        return Caller(named, "as the setting caller_ip says")
    if proxy is not None:
        host = urlsplit(proxy).hostname or "the proxy"
        return Caller(
            "", f"the address that {host} calls from; ask who runs it, and write it into the setting caller_ip"
        )
    source = await asyncio.to_thread(_source, url)
    if source is None:
        return Caller("", "not known: there is no route to the instance; the setting caller_ip can say it")
    address = ip_address(source)
    if address.is_private and not address.is_loopback:
        return Caller(
            source,
            "of this machine in its own network; outside of it your network shows another one:"
            " ask who runs it, and write it into the setting caller_ip",
        )
    return Caller(source, "of this machine, on the route to the instance")


def _source(url: str) -> str | None:
    """Our end of the route. Nothing is sent for that: a datagram socket is only pointed at the other end."""
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or _PORTS.get(parts.scheme, 443), type=socket.SOCK_DGRAM)
        family, kind, protocol, _, place = found[0]
        with socket.socket(family, kind, protocol) as pointed:
            pointed.connect(place)
            return str(pointed.getsockname()[0])
    except OSError:
        return None
