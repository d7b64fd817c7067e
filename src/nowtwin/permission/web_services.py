"""What a web service refuses before records are looked at: tables closed to web services, access rules of whole REST APIs, and
tables that say no instead of showing nothing.
"""

from nowtwin.access.shipped import api_rule
from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.instance import Instance
from nowtwin.scripting.granting import grants

_SAYING_NO = frozenset({"metric_instance", "sys_plugins"})
"""Lists of these are 403 to accounts that may read none of their rows (measured by others, servicenow-api.md 1.6)."""


def require_api(instance: Instance, user: User, api: str) -> None:
    """The access rule of a REST API, where it is active; those of the Table, Aggregate, Import Set and Attachment API ship
    inactive (c_RESTAPI.md). Raises Refused 403.
    """
    verdict = instance.access.api_verdict(user, api_rule(api))
    if not grants(instance, user, verdict, "", {}):
        raise Refused(403, "User Not Authorized", "Failed API level ACL Validation")


def require_web_access(instance: Instance, table: str) -> None:
    """Raises Refused 403 for a table that is not accessible through web services (`sys_db_object.ws_access`); other scopes'
    rights do not count for them. The words are an assumption.
    """
    known = instance.dictionary.tables.get(table)
    if known is not None and known.ws_access is False:
        raise Refused(403, "User Not Authorized", f"Table {table} is not accessible through web services")


def require_some_right(instance: Instance, user: User, table: str) -> None:
    """Raises Refused 403 for a list of a table that does not just come empty. The words are an assumption."""
    if table in _SAYING_NO and instance.access.verdict(user, table, "read").never:
        raise Refused(403, "User Not Authorized", "Failed table level read ACL")
