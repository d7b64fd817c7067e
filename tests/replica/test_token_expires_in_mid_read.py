"""The OAuth token runs out between two pages: it is renewed, the page is asked for again, and nothing is lost."""

from __future__ import annotations

import asyncio

import pytest

from nowbridge.servicenow.auth import ClientCredentials, OAuthPassword
from nowtwin.testing import RunningServer
from tests.support.replica import Bench

CLIENT, SECRET = "3b9aca0000000000000000000000cafe", "a-secret-of-the-client"


@pytest.fixture
def impatient(twin: RunningServer) -> RunningServer:
    """Its tokens live for a minute."""
    enabled = {"name": "glide.oauth.inbound.client.credential.grant_type.enabled", "value": "true"}
    twin.instance.load("sys_properties", [enabled])
    twin.instance.add_oauth_client(CLIENT, SECRET, access_seconds=60, user_name="admin")
    return twin


@pytest.mark.parametrize(
    "auth",
    [OAuthPassword(CLIENT, SECRET, "admin", "admin"), ClientCredentials(CLIENT, SECRET)],
    ids=["password", "client"],
)
async def test_the_load_goes_on_with_a_new_token(
    impatient: RunningServer, bench: Bench, auth: OAuthPassword | ClientCredentials
) -> None:
    bench.make_incidents(230)
    await bench.add("incident")
    replica = bench.open_replica("worker-1", auth)
    await replica.prepare()
    loading = asyncio.create_task(bench.load_shards(replica))
    for _ in range(4):  # only the instance knows that time has passed: our own clock does not warn
        await bench.now.read(2)
        bench.twin.instance.clock.advance(61)
    await loading
    assert await bench.rows("SELECT count(*), count(DISTINCT number) FROM incident") == [(230, 230)]
    assert await bench.rows("SELECT max(failures) FROM nowbridge.shard") == [(0,)]
    refused = [call for call in bench.twin.instance.calls.entries if call.status == 401]
    assert refused, "the story did not happen"


async def test_a_token_that_was_revoked_while_changes_are_followed(impatient: RunningServer, bench: Bench) -> None:
    key = bench.make_incidents(3)[0]
    replica = bench.open_replica("worker-1", OAuthPassword(CLIENT, SECRET, "admin", "admin"))
    await bench.add("incident")
    await replica.prepare()
    await bench.load_shards(replica)
    bench.twin.instance.update("incident", key, {"short_description": "meanwhile"}, user="admin")
    bench.twin.instance.clock.advance(3_600)
    assert await bench.catch_up(replica) >= 1
    assert await bench.rows("SELECT count(*) FROM incident WHERE short_description = 'meanwhile'") == [(1,)]
