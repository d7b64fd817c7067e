"""REST APIs that need a role before any record is looked at (API-level access rules, servicenow-api.md 1.6)."""

from nowtwin.errors import Refused
from nowtwin.http.messages import Request
from nowtwin.instance import Instance

_CMDB = frozenset(
    {"admin", "itil", "asset", "cmdb_read", "cmdb_inst_admin", "sn_cmdb_user", "sn_cmdb_admin", "sn_cmdb_editor"}
)


def require_cmdb_role(instance: Instance, request: Request) -> None:
    """The CMDB APIs need itil, asset or a CMDB role (6.3, 6.5). Raises Refused 403."""
    if instance.switches.access_control and _CMDB.isdisjoint(request.caller.roles):
        raise Refused(403, "User Not Authorized", "Failed API level ACL Validation")
