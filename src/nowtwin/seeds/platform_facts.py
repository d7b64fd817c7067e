"""What the platform has and the bundled schema files lack: choice lists, and a few small tables.

The schema assembled from published packages holds the columns of `incident`, but of most of its choice lists only what
those packages happened to state. The lists here are those of a stock instance (servicenow-api.md 11.1 and 11.2; labels
as the demo records display them), and the tables are the ones that demo records point at. Facts only, in the form
that `Instance.load_schema` takes; a fuller schema that was loaded before wins wherever both speak.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_SOURCE: Final = "nowtwin"

_LOW_TO_HIGH: Final = "1=1 - High;2=2 - Medium;3=3 - Low"
_PRIORITIES: Final = "1=1 - Critical;2=2 - High;3=3 - Moderate;4=4 - Low;5=5 - Planning"
_PROBLEM_STATES: Final = "101=New;102=Assess;103=Root Cause Analysis;104=Fix in Progress;106=Resolved;107=Closed"

CHOICES: Final[Mapping[tuple[str, str], str]] = {
    ("task", "state"): "-5=Pending;1=Open;2=Work in Progress;3=Closed Complete;4=Closed Incomplete;7=Closed Skipped",
    ("task", "impact"): _LOW_TO_HIGH,
    ("task", "urgency"): _LOW_TO_HIGH,
    ("task", "priority"): _PRIORITIES,
    ("task", "escalation"): "0=Normal;1=Moderate;2=High;3=Overdue",
    ("task", "approval"): (
        "not requested=Not Yet Requested;requested=Requested;approved=Approved;rejected=Rejected;"
        "cancelled=Canceled;not_required=Not Required;duplicate=Duplicate"
    ),
    ("task", "upon_approval"): "proceed=Proceed to Next Task;do_nothing=Wait for a User to Close this task",
    ("task", "upon_reject"): "cancel=Cancel all future Tasks;goto=Go to a previous Task",
    ("task", "contact_type"): (
        "chat=Chat;email=Email;phone=Phone;self-service=Self-service;virtual_agent=Virtual Agent;walk-in=Walk-in"
    ),
    ("incident", "severity"): _LOW_TO_HIGH,
    ("incident", "notify"): "1=Do Not Notify;2=Send Email;3=Telephone",
    ("incident", "hold_reason"): "1=Awaiting Caller;5=Awaiting Change;3=Awaiting Problem;4=Awaiting Vendor",
    ("incident", "close_code"): (
        "Duplicate;Known error;No resolution provided;Resolved by caller;Resolved by change;Resolved by problem;"
        "Resolved by request;Solution provided;Workaround provided;User error"
    ),
    ("problem", "state"): _PROBLEM_STATES,
    ("problem", "category"): "software=Software;hardware=Hardware;network=Network;database=Database",
    ("problem", "resolution_code"): (
        "fix_applied=Fix Applied;risk_accepted=Risk Accepted;duplicate=Duplicate;canceled=Canceled"
    ),
    ("change_request", "category"): (
        "Hardware;Software;Service;System Software;Applications Software;Network;Telecom;Documentation;Other"
    ),
    ("change_request", "scope"): "1=Massive;2=Large;3=Medium;4=Small;5=Tiny",
    ("change_request", "phase"): "requested=Requested;accepted=Accepted;plan=Plan;build=Build;complete=Complete",
    ("change_request", "phase_state"): "open=Open;work in progress=Work in Progress;complete=Complete;on hold=On Hold",
    ("change_request", "close_code"): (
        "successful=Successful;successful_issues=Successful with issues;unsuccessful=Unsuccessful"
    ),
    ("cmdb_ci", "install_status"): (
        "0=Implementing;1=Installed;2=On Order;3=In Maintenance;4=Pending Install;5=Pending Repair;6=In Stock;"
        "7=Retired;8=Stolen;100=Absent"
    ),
    ("cmdb_ci", "operational_status"): (
        "1=Operational;2=Non-Operational;3=Repair in Progress;4=DR Standby;5=Ready;6=Retired;7=Pipeline;8=Catalog"
    ),
    ("kb_knowledge", "workflow_state"): "draft=Draft;review=Review;published=Published;retired=Retired",
}

# incident and problem share the stock list; each value belongs to one category.
SUBCATEGORIES: Final[Mapping[str, str]] = {
    "inquiry": "antivirus=Antivirus;email=Email;internal application=Internal Application",
    "database": "db2=DB2;sql server=MS SQL Server;oracle=Oracle",
    "hardware": "cpu=CPU;disk=Disk;keyboard=Keyboard;memory=Memory;monitor=Monitor;mouse=Mouse",
    "network": "dhcp=DHCP;dns=DNS;ip address=IP Address;vpn=VPN;wireless=Wireless",
    "software": "email=Email;os=Operating System",
}

# name: label, parent, display column, columns as element:type[>reference]
TABLES: Final[Mapping[str, tuple[str, str | None, str, str]]] = {
    "cmdb": ("Base Configuration Item", None, "", ""),
    "cmdb_ci_hardware": ("Hardware", "cmdb_ci", "", "hardware_status:string hardware_substatus:string"),
    "cmdb_ci_computer": (
        "Computer",
        "cmdb_ci_hardware",
        "",
        "os:string os_version:string ram:integer disk_space:float cpu_count:integer cpu_name:string virtual:boolean",
    ),
    "cmdb_hardware_product_model": ("Hardware Model", "cmdb_model", "", ""),
    "cmdb_model_category": (
        "Model Category",
        None,
        "name",
        (
            "name:string cmdb_ci_class:table_name asset_class:table_name product_model_class:table_name "
            "allow_pre_allocated:boolean allow_in_bundle:boolean allow_as_master:boolean enforce_verification:boolean"
        ),
    ),
    "sys_user_has_role": (
        "User Role",
        None,
        "",
        (
            "user:reference>sys_user role:reference>sys_user_role state:string inherited:boolean "
            "granted_by:reference>sys_user_group"
        ),
    ),
    "cmdb_depreciation": ("Depreciation", None, "name", "name:string years:integer"),
    "alm_stockroom": (
        "Stockroom",
        None,
        "name",
        "name:string location:reference>cmn_location manager:reference>sys_user external:boolean",
    ),
    "std_change_producer_version": ("Standard Change Template Version", None, "name", "name:string version:integer"),
    "item_option_new": (
        "Variable",
        None,
        "question_text",
        (
            "name:string question_text:string type:integer order:integer cat_item:reference>sc_cat_item "
            "mandatory:boolean active:boolean default_value:string"
        ),
    ),
    "question_choice": (
        "Question Choice",
        None,
        "text",
        "question:reference>item_option_new text:string value:string order:integer inactive:boolean",
    ),
}

_SYSTEM_COLUMNS: Final = (
    "sys_id:GUID sys_created_on:glide_date_time sys_created_by:string sys_updated_on:glide_date_time "
    "sys_updated_by:string sys_mod_count:integer"
)
_MAX_LENGTHS: Final[Mapping[str, int]] = {"string": 255, "reference": 32, "GUID": 32, "table_name": 80}


def choice_entries(table: str, element: str, listed: str, dependent_value: str = "") -> list[dict[str, Any]]:
    """`value=Label;…` (a bare `Label` stands for both) as entries of a schema file, in sequence."""
    pairs = [entry.partition("=") for entry in listed.split(";")]
    return [
        {
            "table": table,
            "element": element,
            "value": value,
            "label": label or value,
            "sequence": sequence,
            "dependent_value": dependent_value,
            "inactive": False,
            "language": "en",
            "sources": [_SOURCE],
        }
        for sequence, (value, _, label) in enumerate(pairs, start=1)
    ]


def column_entry(table: str, spec: str, *, label: str = "", choice: int = 0) -> dict[str, Any]:
    """`element:type[>reference]` as a column of a schema file."""
    element, _, kind = spec.partition(":")
    internal_type, _, reference = kind.partition(">")
    entry: dict[str, Any] = {
        "table": table,
        "element": element,
        "sources": [_SOURCE],
        "label": label or element.removeprefix("u_").replace("_", " ").capitalize(),
        "internal_type": internal_type,
        "max_length": _MAX_LENGTHS.get(internal_type, 40),
        "mandatory": False,
        "read_only": False,
        "choice": choice,
    }
    return entry | ({"reference": reference} if reference else {})


def table_entry(name: str, label: str, parent: str | None, display: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "label": label, "super_class": parent, "sources": [_SOURCE]}
    return entry | ({"display": display} if display else {})


def schema_of(
    tables: Sequence[dict[str, Any]], columns: Sequence[dict[str, Any]], choices: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    return {"meta": {"note": _SOURCE}, "tables": list(tables), "columns": list(columns), "choices": list(choices)}


def platform_schema() -> dict[str, Any]:
    """All facts of this module, in the form of a schema file."""
    tables = [table_entry(name, label, parent, display) for name, (label, parent, display, _) in TABLES.items()]
    columns = [
        column_entry(name, spec)
        for name, (_, parent, _, specs) in TABLES.items()
        for spec in f"{specs} {'' if parent else _SYSTEM_COLUMNS}".split()
    ]
    choices = [
        entry for (table, element), listed in CHOICES.items() for entry in choice_entries(table, element, listed)
    ]
    for table in ("incident", "problem"):
        for category, listed in SUBCATEGORIES.items():
            choices += choice_entries(table, "subcategory", listed, category)
    return schema_of(tables, columns, choices)
