"""Who are we, and on what kind of instance: the facts that `nowbridge check` shows and warns about.

Each fact may be unreadable for a humble account; then it is None, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from nowbridge.model.errors import Park, Stop
from nowbridge.servicenow.pages import PageRequest
from nowbridge.servicenow.query import Query, equals, one_of
from nowbridge.servicenow.tables import read_page, read_records
from nowbridge.servicenow.wire import PageDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from nowbridge.servicenow.instance import Instance

_UTC_NAMES: Final = frozenset(
    {"UTC", "GMT", "Etc/UTC", "Etc/GMT", "Etc/GMT0", "GMT0", "Etc/Universal", "Universal", "Zulu"}
)
_BEFORE_MADRID: Final = frozenset(
    [
        "aspen",
        "berlin",
        "calgary",
        "dublin",
        "eureka",
        "fuji",
        "geneva",
        "helsinki",
        "istanbul",
        "jakarta",
        "kingston",
        "london",
    ]
)
_PROPERTIES: Final = ("glide.buildname", "glide.war", "glide.sys.default.tz")
_NAMES: Final = ("instance_id", "instance_name", "glide.db.name")
_WAR: Final = re.compile(r"glide-([a-z]+)")
_MOST_SKEW: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class User:
    user_name: str
    sys_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Introduction:
    """`skew` is how far the instance's clock is ahead of ours. `warnings` are sentences for people."""

    user: User
    release: str | None
    build: str | None
    time_zone: str | None
    skew: timedelta
    warnings: tuple[str, ...] = ()


async def introduce(instance: Instance, *, user_name: str | None, now: Callable[[], datetime]) -> Introduction:
    """Ask for everything at once. `user_name` serves where the instance does not tell who is logged in.

    Raises what a refused log-in raises, and Stop `user.unknown`.
    """
    user = await current_user(instance, user_name)
    properties = await _properties(instance)
    zone = await _time_zone(instance, user, properties.get("glide.sys.default.tz"))
    build = properties.get("glide.war")
    release = properties.get("glide.buildname") or release_of(build or "")
    skew = await clock_skew(instance, now)
    return Introduction(user, release, build, zone, skew, warnings(release, zone, skew))


async def current_user(instance: Instance, user_name: str | None) -> User:
    """The account behind our credentials. Raises Stop `user.unknown` where neither way tells."""
    try:
        answer = await instance.get("/api/now/ui/user/current_user", asked="ask who is logged in")
    except (Stop, Park) as error:
        if error.code not in {"path.unknown", "record.missing", "query.refused"} and not error.code.startswith(
            "rights."
        ):
            raise
        return await _user_by_name(instance, user_name)
    told = msgspec.json.decode(answer.body)["result"]
    if isinstance(told, dict) and told.get("user_name"):
        return User(str(told["user_name"]), str(told.get("user_sys_id", "")), str(told.get("user_display_name", "")))
    return await _user_by_name(instance, user_name)


async def clock_skew(instance: Instance, now: Callable[[], datetime]) -> timedelta:
    """How far the instance's clock is ahead of ours, to about a second: a `Date` is cut to whole seconds."""
    before = now()
    told = await instance.server_now()
    return told + timedelta(seconds=0.5) - (before + (now() - before) / 2)


def release_of(war: str) -> str | None:
    """The release's name out of `glide.war` (`glide-australia-02-11-2026__patch3-…`)."""
    match = _WAR.match(war)
    return match[1].capitalize() if match else None


def is_supported(release: str | None) -> bool | None:
    """Madrid (2019) or later; None when the release is not known."""
    return None if release is None else release.split()[0].lower() not in _BEFORE_MADRID


def warnings(release: str | None, time_zone: str | None, skew: timedelta) -> tuple[str, ...]:
    found = []
    if is_supported(release) is False:
        found.append(f"The instance runs {release}; Nowbridge supports Madrid (2019) and later.")
    if time_zone is not None and time_zone not in _UTC_NAMES:
        found.append(
            f"The account's time zone is {time_zone}; some releases read dates in filters in that zone. Set it to UTC."
        )
    if abs(skew) > _MOST_SKEW:
        found.append(f"The instance's clock and ours are {abs(skew).total_seconds():.0f} s apart.")
    return tuple(found)


async def _user_by_name(instance: Instance, user_name: str | None) -> User:
    if user_name:
        fields = ("user_name", "sys_id", "name")
        query = Query((equals("user_name", user_name),)).text
        answer = await read_page(instance, "sys_user", PageRequest(query, 1), fields)
        page = PageDecoder(fields).decode(answer.body)
        if page.rows:
            return User(*(column[0] for column in page.columns))
    raise Stop(
        "user.unknown",
        asked="ask who is logged in",
        answered="the instance does not tell, and the account may not read its own record in sys_user",
        hint="Let the account read its own record in sys_user.",
    )


async def likeness(instance: Instance) -> dict[str, str]:
    """What the instance calls itself, as far as the account may read it: instance_id is made anew by a clone."""
    return await _properties(instance, _NAMES)


async def _properties(instance: Instance, names: tuple[str, ...] = _PROPERTIES) -> dict[str, str]:
    """System properties, as far as the account may read them (mostly administrators may)."""
    fields = ("name", "value")
    query = Query((one_of("name", names),)).text
    try:
        answer = await read_page(instance, "sys_properties", PageRequest(query, len(names)), fields)
    except Stop as error:
        if not error.code.startswith("rights.") and error.code != "query.rights":
            raise
        return {}
    page = PageDecoder(fields).decode(answer.body)
    return {name: value for name, value in zip(*page.columns, strict=True) if value}


async def _time_zone(instance: Instance, user: User, default: str | None) -> str | None:
    """The account's own zone, else the instance's default, as far as either is readable."""
    if not user.sys_id:
        return default
    fields = ("sys_id", "time_zone")
    try:
        answer = await read_records(instance, "sys_user", [user.sys_id], fields)
    except Stop as error:
        if not error.code.startswith("rights."):
            raise
        return default
    zones = PageDecoder(fields).decode(answer.body).column("time_zone")
    return (zones[0] if zones else "") or default
