"""Who we are and on what instance, as far as the account may know."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from nowbridge.model.errors import Stop
from nowbridge.servicenow import identity
from nowbridge.servicenow.auth import Basic
from nowtwin.access.hiding import HideRule

if TYPE_CHECKING:
    from tests.support.site import Site


async def test_an_administrator_learns_everything(site: Site) -> None:
    site.now = site.twin.instance.clock.now()
    found = await identity.introduce(site.sign_in(), user_name=None, now=lambda: site.now)
    assert (found.user.user_name, found.user.name) == ("admin", "System Administrator")
    assert found.release == "Australia"
    assert found.time_zone == "UTC"
    assert abs(found.skew) < timedelta(seconds=10)
    assert found.warnings == ()


@pytest.mark.req("S2")
async def test_a_humble_account_in_another_zone_is_warned_and_nothing_is_guessed(site: Site) -> None:
    site.twin.instance.add_user("jane", "secret", time_zone="Europe/Berlin")
    site.hide(HideRule("sys_properties"))
    site.now = site.twin.instance.clock.now() - timedelta(minutes=5)
    found = await identity.introduce(site.sign_in(Basic("jane", "secret")), user_name="jane", now=lambda: site.now)
    assert (found.release, found.build) == (None, None)
    assert found.time_zone == "Europe/Berlin"
    assert timedelta(seconds=290) < found.skew < timedelta(seconds=310)
    assert [warning.split()[2] for warning in found.warnings] == ["time", "clock"]


async def test_an_account_that_may_not_read_itself_is_still_known_by_the_session(site: Site) -> None:
    site.twin.instance.add_user("jane", "secret")
    site.hide(HideRule("sys_user"), HideRule("sys_properties"))
    found = await identity.introduce(site.sign_in(Basic("jane", "secret")), user_name="jane", now=lambda: site.now)
    assert found.user.user_name == "jane"
    assert found.time_zone is None


async def test_where_the_instance_has_no_such_page_the_user_record_tells(site: Site) -> None:
    site.arm(kind="status", route="current_user", status=404)
    assert (await identity.current_user(site.sign_in(), "admin")).name == "System Administrator"
    for name in (None, "nobody"):
        with pytest.raises(Stop) as caught:
            await identity.current_user(site.sign_in(), name)
        assert caught.value.code == "user.unknown"


@pytest.mark.parametrize(
    ("war", "release", "supported"),
    [
        ("glide-australia-02-11-2026__patch3-05-25-2026_06-10-2026_1842.zip", "Australia", True),
        ("glide-madrid-12-18-2018__patch1", "Madrid", True),
        ("glide-london-06-27-2018", "London", False),
        ("", None, None),
    ],
)
@pytest.mark.req("S2")
def test_releases(war: str, release: str | None, supported: bool | None) -> None:
    assert identity.release_of(war) == release
    assert identity.is_supported(release) is supported


@pytest.mark.req("S2")
def test_an_instance_that_is_too_old_is_warned_about() -> None:
    assert "Madrid" in identity.warnings("London", "UTC", timedelta())[0]
