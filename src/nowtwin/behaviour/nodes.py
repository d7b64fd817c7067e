"""The nodes of the instance: a session stays on its node, requests without one go round, and each has its own clock.

One node unless a test asks for more through the control API (`PUT /_nowtwin/nodes`); with several, stamps written by
different nodes need not follow each other (servicenow-api.md 9.2), and semaphores and rate limit counts are per node.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime

import msgspec

COOKIE = "glide_user_route"
_PREFIX = "glide."


class Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`skew`: seconds by which its clock goes fast (slow if negative)."""

    name: str
    skew: float = 0.0


ONLY = Node("nowtwin")
CURRENT: ContextVar[Node] = ContextVar("node", default=ONLY)
"""The node that serves the present request."""


@dataclass(frozen=True, slots=True)
class Outage:
    """A node that does not answer until then; what stands before it answers with the status."""

    until: datetime
    status: int = 503
    upgrading: bool = False


class Nodes:
    def __init__(self) -> None:
        self._nodes: tuple[Node, ...] = (ONLY,)
        self._turn = 0
        self._outages: dict[str, Outage] = {}

    @property
    def all(self) -> tuple[Node, ...]:
        return self._nodes

    def set(self, nodes: Sequence[Node]) -> None:
        """Raises ValueError for none, or for names that are not distinct words."""
        names = [node.name for node in nodes]
        if not names or len(set(names)) < len(names) or not all(name.isalnum() for name in names):
            raise ValueError("nodes need distinct names of letters and digits")
        self._nodes = tuple(nodes)
        self._outages.clear()

    def named(self, name: str) -> tuple[Node, ...]:
        """The node of that name, all for an empty one. Raises ValueError where there is none."""
        found = tuple(node for node in self._nodes if name in {"", node.name})
        if not found:
            raise ValueError(f"node: there is no node {name}")
        return found

    def take_out(self, node: Node, outage: Outage) -> None:
        self._outages[node.name] = outage

    def outage(self, node: Node, now: datetime) -> Outage | None:
        """Why the node does not answer now. Requests still go to it: what spreads them has not noticed yet."""
        found = self._outages.get(node.name)
        return found if found and now < found.until else None

    def pick(self, route: str) -> Node:
        """The node that a `glide_user_route` cookie names, else the next one."""
        for node in self._nodes:
            if route == _PREFIX + node.name:
                return node
        self._turn += 1
        return self._nodes[self._turn % len(self._nodes)]


def route_of(node: Node) -> str:
    """The value of the cookie that keeps a session on its node."""
    return _PREFIX + node.name
