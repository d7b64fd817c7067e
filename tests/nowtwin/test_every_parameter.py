"""Every parameter that any route reads, sent to every route, each time with one odd value: what random requests rarely
bring together.
"""

from collections.abc import Iterator

import pytest

from tests.nowtwin import fuzzed_requests as fuzzed
from tests.nowtwin.inside import Inside, Wish, error_log
from tests.nowtwin.test_fuzz_all_routes import furnished, require_form

pytestmark = pytest.mark.behaviour(
    "1.8", evidence="assumption: what no source shows is refused in the documented words"
)

_VALUES = ("-1", "9" * 25, "a,b^c^>^x", "sys_idINx^ORDERBYnope^NQ", "NULL", "MAX^opened_at^DESC", "'\"\x00")
_ADMIN = (fuzzed.ADMIN, ("Accept", "application/json"))


@pytest.fixture(scope="module")
def inside() -> Iterator[Inside]:
    with furnished() as made:
        yield made


@pytest.mark.parametrize("path", sorted(fuzzed.plain_paths()))
def test_each_is_answered(inside: Inside, path: str) -> None:
    with error_log() as logged:
        for name in fuzzed.PARAMETERS:
            for value in _VALUES:
                wish = Wish("GET", path, ((name, value),), _ADMIN)
                got = inside.ask(wish)
                assert 200 <= got.status < 500, (wish, got)
                require_form(wish, got)
    assert not logged, logged
