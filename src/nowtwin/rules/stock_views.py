"""Database views that stand in every instance (D: r_DatabaseViewsInTheBaseSystem.md): those of incidents, whose prefixes the
documentation and public queries show (`mi_id`, `inc_sys_id`, `taskslatable_active`); the prefix `md` is an assumption.
The views of other tables are not shipped, since no source names their prefixes.
"""

from collections.abc import Iterator, Mapping

from nowtwin.schema.metadata import INSTALLED_AT, row_id

Row = dict[str, str]
Joined = tuple[str, str, str]
"""Table, variable prefix, where clause."""
_VIEWS: Mapping[str, tuple[str, tuple[Joined, ...]]] = {
    "incident_metric": (
        "Incident Metric",
        (
            ("metric_definition", "md", ""),
            ("metric_instance", "mi", "mi_definition = md_sys_id"),
            ("incident", "inc", "mi_id = inc_sys_id"),
        ),
    ),
    "incident_sla": (
        "Incident SLA",
        (("task_sla", "taskslatable", ""), ("incident", "inc", "taskslatable_task = inc_sys_id")),
    ),
}


def view_rows() -> Iterator[tuple[str, list[Row]]]:
    """Every table with its rows."""
    yield "sys_db_view", [_view(name, label) for name, (label, _) in _VIEWS.items()]
    joined = ((name, number, *table) for name, (_, tables) in _VIEWS.items() for number, table in enumerate(tables, 1))
    yield "sys_db_view_table", [_table(*parts) for parts in joined]


def _view(name: str, label: str) -> Row:
    return _stamped({"sys_id": row_id("sys_db_view", name), "name": name, "label": label, "plural": f"{label}s"})


def _table(view: str, number: int, table: str, prefix: str, where: str) -> Row:
    row = {"sys_id": row_id("sys_db_view_table", view, prefix), "view": row_id("sys_db_view", view), "table": table}
    row |= {"variable_prefix": prefix, "where_clause": where, "order": str(100 * number)}
    return _stamped(row | {"left_join": "false", "active": "true"})


def _stamped(row: Row) -> Row:
    return row | dict.fromkeys(("sys_created_on", "sys_updated_on"), INSTALLED_AT)
