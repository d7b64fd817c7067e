"""`sysparm_view`: the columns of a UI view of a table, as its form has them (servicenow-api.md 1.2)."""

from nowtwin.instance import Instance
from nowtwin.query.parse import Query, Term
from nowtwin.records.selecting import select
from nowtwin.values import number_of


def view_columns(instance: Instance, table: str, view: str) -> tuple[str, ...]:
    """Columns of the form sections that the table, or the nearest one above it, has in the view, in their order; empty
    where there are none, as of an unknown view.
    """
    for name in instance.dictionary.lineage(table):
        here = (Term("name", "=", name),)
        named = (Term("view.name", "=", view), Term("view.title", "=", view), Term("view", "=", view))
        sections = select(instance, "sys_ui_section", Query(((here, named),)), ("sys_id",))
        if not sections:
            continue
        ids = ",".join(section["sys_id"] for section in sections)
        parts = select(
            instance, "sys_ui_element", Query((((Term("sys_ui_section", "IN", ids),),),)), ("element", "position")
        )
        parts.sort(key=lambda part: number_of(part.get("position", "")) or 0)
        columns = instance.dictionary.columns(table)
        return tuple(dict.fromkeys(part["element"] for part in parts if part["element"] in columns))
    return ()
