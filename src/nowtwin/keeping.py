"""State that a snapshot holds of an object in memory: copies of its attributes, put back into the same object, since
others hold on to it.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar


class Kept:
    """An object whose attributes are plain data, apart from those that `not_kept` names."""

    not_kept: ClassVar[frozenset[str]] = frozenset()

    def saved(self) -> Mapping[str, Any]:
        return deepcopy({name: value for name, value in vars(self).items() if name not in self.not_kept})

    def put_back(self, saved: Mapping[str, Any]) -> None:
        vars(self).update(deepcopy(dict(saved)))
