"""From which address an instance is called, as far as that can be known."""

from __future__ import annotations

import pytest

from nowbridge.connecting.caller import caller_of


@pytest.mark.req("L20")
async def test_the_setting_wins_then_the_proxy_then_the_route() -> None:
    named = await caller_of("http://127.0.0.1:9", "http://proxy.example:3128", "198.51.100.7")
    assert (named.address, named.words) == ("198.51.100.7", "as the setting caller_ip says")
    proxied = await caller_of("http://127.0.0.1:9", "http://ada@proxy.example:3128", "")
    assert proxied.address == ""
    assert "proxy.example" in proxied.words
    assert "ada" not in proxied.words
    assert (await caller_of("http://127.0.0.1:9", None, "")).address == "127.0.0.1"
    assert (await caller_of("http://[::1]:9", None, "")).address == "::1"


async def test_an_instance_without_a_route_is_no_error() -> None:
    lost = await caller_of("https://no-such-host.invalid", None, "")
    assert (lost.address, "caller_ip" in lost.words) == ("", True)
