"""Domain separation: a user with a domain sees only its rows, those of the domains below it, and global ones.

Off unless the switch `domains_separated` is on, as on an instance without the plugin. A domain is a record of
sys_user_group here, since `sys_domain` refers to that table in the shipped schema; `parent` makes the tree.
Whether a count knows of the rows that are left out is open (servicenow-api.md 9.2), so a switch too.
"""

from nowtwin.access.hiding import Veil
from nowtwin.accounts.users import User
from nowtwin.instance import Instance
from nowtwin.query.parse import Clause, Query, Term

GLOBAL = "global"
ACROSS = "query_no_domain_table_api"
"""The role that, like admin, may read across domains with `sysparm_query_no_domain=true` (c_TableAPI.md)."""


def may_cross(user: User) -> bool:
    return user.admin or ACROSS in user.roles


def bounded(instance: Instance, user: User, table: str, query: Query) -> tuple[Query, tuple[Veil, ...]]:
    """The query and what hides rows of other domains: a veil, to which counts are blind, or a condition."""
    own = (instance.read("sys_user", user.sys_id) or {}).get("sys_domain", "")
    if own in {"", GLOBAL} or instance.dictionary.column(table, "sys_domain") is None:
        return query, ()
    seen = ",".join((GLOBAL, own, *_below(instance, own)))
    if instance.switches.other_domains_counted:
        return query, (Veil(table, ((f"sys_domainISNOTEMPTY^sys_domainNOT IN{seen}",),)),)
    clause: Clause = (Term("sys_domain", "ISEMPTY", ""), Term("sys_domain", "IN", seen))
    groups = tuple((*group, clause) for group in query.groups or ((),))
    return Query(groups, query.order, query.group_by), ()


def _below(instance: Instance, domain: str) -> list[str]:
    """All domains under one, each once, whatever the tree looks like."""
    parents = {row["sys_id"]: row.get("parent", "") for row in instance.export("sys_user_group")}
    found, reached = [], {domain}
    while fresh := [group for group, parent in parents.items() if parent in reached and group not in reached]:
        reached.update(fresh)
        found += fresh
    return found
