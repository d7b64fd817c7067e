from collections.abc import Iterator

import pytest

from nowtwin.testing import RunningServer
from tests.nowtwin.browser import USER, Browser
from tests.nowtwin.hook import Hook, listening
from tests.nowtwin.imports import make_incident_import
from tests.nowtwin.talk import Talk


@pytest.fixture
def talk(twin: RunningServer) -> Talk:
    """An administrator who talks to a fresh, empty twin."""
    return Talk(twin.url, twin.instance)


@pytest.fixture
def incidents(talk: Talk) -> str:
    """A staging table with a map to incident; the sys_id of the map."""
    return make_incident_import(talk)


@pytest.fixture
def hook(talk: Talk) -> Iterator[Hook]:
    """A server that scripts of the twin may call."""
    with listening(talk) as noted:
        yield noted


@pytest.fixture
def browser(twin: RunningServer) -> Browser:
    """Someone who is signed in as admin."""
    twin.instance.load("sys_user", [USER])
    browser = Browser(twin.url)
    browser.log_in()
    return browser
