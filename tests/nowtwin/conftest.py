import pytest

from nowtwin.testing import RunningServer
from tests.nowtwin.talk import Talk


@pytest.fixture
def talk(twin: RunningServer) -> Talk:
    """An administrator who talks to a fresh, empty twin."""
    return Talk(twin.url, twin.instance)
