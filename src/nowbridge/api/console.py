"""What the console and the HTTP API are made of, put together by `wiring`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from nowbridge.api.access import Doorkeeper
from nowbridge.connecting.connect import Connector
from nowbridge.connecting.consent import Consents
from nowbridge.connecting.entry import SignIn
from nowbridge.store.database import Database
from nowbridge.store.instances.connections import ConnectionRow

CALLBACK = "/auth/servicenow/callback"


@dataclass(frozen=True, slots=True)
class Console:
    """`unseal` opens a stored connection. `public_url` is where browsers find the console, empty for the address of the
    request; `caller_ip` and `shared_proxy` are the settings of that name.
    """

    database: Database
    clock: Callable[[], datetime]
    doors: Doorkeeper
    connector: Connector
    consents: Consents
    unseal: Callable[[ConnectionRow], SignIn]
    seen_within: timedelta
    public_url: str
    caller_ip: str
    shared_proxy: str
