"""Whether a caller may do what a request asks, for the APIs that work in a caller's name. Scripts and loads do not ask.

Answers of servicenow-api.md 1.6: an unreadable record is 404, a forbidden write 403, a forbidden column is left as it is.
"""

from collections.abc import Mapping

from nowtwin import errors
from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.permission import domains
from nowtwin.query.fields import Source
from nowtwin.query.parse import Query, Term
from nowtwin.reading.pages import Wanted
from nowtwin.records.pipeline import Record
from nowtwin.scripting.granting import grants, writable

_DENIED = "ACL Exception {} Failed due to security constraints"
_RIGHTS = {"Insert": "create", "Update": "update", "Delete": "delete"}


def _denied(instance: Instance, word: str) -> Refused:
    if instance.switches.refusals_name_rights:
        return Refused(403, f"Insufficient rights to {_RIGHTS[word]} record", _DENIED.format(word))
    return errors.failed(_DENIED.format(word))


def wanted_rows(
    instance: Instance, user: User, table: str, query: Query, *, queried: bool = True, all_domains: bool = False
) -> Wanted:
    """The rows of a query in a user's eyes. Raises Refused 403 for a query on an unreadable column, if `queried`.

    `all_domains` lets a user who may do that look beyond his domain.
    """
    if queried:
        instance.access.refuse_query(user, table, query)
        if instance.switches.unknown_column_refused:
            source = Source(instance.dictionary, instance.storage, table)
            instance.access.refuse_unknown(query, lambda path: source.field(path) is not None)
    closed = instance.property("glide.invalid_query.returns_no_rows") == "true"
    hidden = instance.access.hidden_rows(user, table)
    conditional = tuple(instance.access.conditional_columns(user, table).items())
    query = instance.scripts.restrict(table, query, user)
    if instance.switches.domains_separated and not (all_domains and domains.may_cross(user)):
        query, veils = domains.bounded(instance, user, table, query)
        hidden = (*hidden, *veils)
    return Wanted(table, query, instance.moment(user), hidden, closed, conditional)


def readable_record(instance: Instance, user: User, table: str, sys_id: str) -> Record:
    """The record, if the user may read it. Raises Refused 404."""
    record = instance.record(table, sys_id)
    bounded = instance.switches.domains_separated
    if bounded or instance.access.hidden_rows(user, table) or instance.scripts.restricts(table):
        query = Query((((Term("sys_id", "=", sys_id),),),))
        wanted = wanted_rows(instance, user, table, query, queried=False)
        if not instance.reader.page(wanted, (), instance.switches, limit=1).sys_ids:
            raise errors.no_record()
    return record


def insertable(instance: Instance, user: User, table: str, body: Mapping[str, str]) -> dict[str, str]:
    """What of a body the user may set on a new record. Raises Refused 403 where he may create none."""
    if instance.dictionary.view(table):
        raise errors.view_is_read_only(instance.switches.view_write_status, "Insert")
    actual = body.get("sys_class_name", "")
    actual = actual if actual in instance.dictionary.classes(table) else table
    verdict = instance.access.verdict(user, actual, "create")
    new: Mapping[str, str] = body
    if instance.switches.access_control and not user.admin:
        new = {**instance.records.defaults(actual, user), **body, "sys_id": ""}
    if not grants(instance, user, verdict, actual, new):
        raise _denied(instance, "Insert")
    kept = writable(instance, user, actual, new, body, "create")
    return {element: text for element, text in body.items() if element in kept}


def updatable(instance: Instance, user: User, record: Record, body: Mapping[str, str]) -> dict[str, str]:
    """What of a body the user may change in this record. Raises Refused 403 where he may change nothing."""
    _require(instance, user, record, "write", "Update")
    kept = writable(instance, user, record.table, record.values, body, "write")
    return {element: text for element, text in body.items() if element in kept}


def require_deletable(instance: Instance, user: User, record: Record) -> None:
    _require(instance, user, record, "delete", "Delete")


def require_aggregates(instance: Instance, user: User, table: str) -> None:
    """Aggregates look at roles only; raises Refused 403 where they grant nothing (servicenow-api.md 4)."""
    if instance.access.verdict(user, table, "read").never:
        raise Refused(403, "User Not Authorized", "Failed table level read ACL")


def _require(instance: Instance, user: User, record: Record, operation: str, word: str) -> None:
    verdict = instance.access.verdict(user, record.table, operation)
    if not grants(instance, user, verdict, record.table, record.values):
        raise _denied(instance, word)
