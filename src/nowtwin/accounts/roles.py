"""Which roles a user has: granted, through groups, and contained in other roles, all read from rows.

Tables: sys_user_has_role, sys_user_grmember, sys_group_has_role, sys_user_role, sys_user_role_contains.
"""

from collections.abc import Callable, Iterable

from nowtwin.storage.rows import Storage

TABLES = ("sys_user_role", "sys_user_role_contains", "sys_user_has_role", "sys_user_grmember", "sys_group_has_role")
_USED = {
    "sys_user_role": ("name",),
    "sys_user_role_contains": ("role", "contains"),
    "sys_user_has_role": ("user", "role", "state"),
    "sys_user_grmember": ("user", "group"),
    "sys_group_has_role": ("group", "role"),
}


class Roles:
    def __init__(self, storage: Storage, ignored: Callable[[], frozenset[str]]) -> None:
        """`ignored`: sys_ids of containments that do not count."""
        self._storage = storage
        self._ignored = ignored
        self._known: tuple[tuple[int, ...], dict[str, str], dict[str, set[str]]] | None = None
        for root, columns in _USED.items():
            storage.ensure(root, columns)
        storage.index("sys_user_has_role", ("user",))
        storage.index("sys_user_grmember", ("user",))

    def version(self) -> tuple[int, ...]:
        """Changes whenever a role may have."""
        return (*(self._storage.versions.get(root, 0) for root in TABLES), len(self._ignored()))

    def of(self, user_id: str, granted: Iterable[str] = ()) -> frozenset[str]:
        """All role names of a user; `granted` are further ones by name."""
        names, contained = self._catalogue()
        rows = self._storage.rows(
            "SELECT role FROM sys_user_has_role WHERE user = ? AND ifnull(state, 'active') = 'active' "
            'UNION SELECT r.role FROM sys_user_grmember m JOIN sys_group_has_role r ON r."group" = m."group" '
            "WHERE m.user = ?",
            (user_id, user_id),
        )
        found = {*granted, *(names[str(role)] for (role,) in rows if str(role) in names)}
        pending = list(found)
        while pending:
            for inner in contained.get(pending.pop(), ()):
                if inner not in found:
                    found.add(inner)
                    pending.append(inner)
        return frozenset(found)

    def _catalogue(self) -> tuple[dict[str, str], dict[str, set[str]]]:
        """Role names by sys_id, and the names that each name contains."""
        version = self.version()
        if self._known is None or self._known[0] != version:
            rows = self._storage.rows("SELECT sys_id, name FROM sys_user_role WHERE name IS NOT NULL")
            names = {str(sys_id): str(name) for sys_id, name in rows}
            contained: dict[str, set[str]] = {}
            ignored = self._ignored()
            for pair, role, inner in self._storage.rows("SELECT sys_id, role, contains FROM sys_user_role_contains"):
                if str(pair) not in ignored and str(role) in names and str(inner) in names:
                    contained.setdefault(names[str(role)], set()).add(names[str(inner)])
            self._known = (version, names, contained)
        return self._known[1], self._known[2]
