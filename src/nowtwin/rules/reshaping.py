"""What stored rows suffer when the dictionary changes: a column or table that goes takes its data along, and a column that
changes its type keeps what the new type can read.
"""

from collections.abc import Callable

from nowtwin.records.ground import Ground
from nowtwin.records.selecting import equalities, select
from nowtwin.storage.rows import quote
from nowtwin.values import NUMERIC_TYPES, Stored, to_stored


def drop_rows(instance: Ground, table: str) -> None:
    """All records of exactly this class go with their table, and what the dictionary's tables say of it."""
    root = instance.dictionary.root(table)
    instance.storage.ensure(root)
    sql = f"SELECT sys_id FROM {quote(root)} WHERE sys_class_name = ?"  # noqa: S608 - quoted name
    for (sys_id,) in instance.storage.rows(sql, (table,)):
        instance.storage.delete(root, str(sys_id))
    for holder in ("sys_dictionary", "sys_choice", "sys_documentation"):
        for row in select(instance, holder, equalities({"name": table}), ("sys_id",)):
            instance.storage.delete(holder, row["sys_id"])


def empty_column(instance: Ground, table: str, element: str) -> None:
    """A column that is gone has no data when one of its name comes back."""
    _rewrite(instance, table, element, lambda _: None)


def retype_column(instance: Ground, table: str, element: str, internal_type: str) -> None:
    """Stored values as the new type reads them; what it cannot read is empty."""
    numeric = internal_type in NUMERIC_TYPES

    def read(value: Stored) -> Stored:
        read_again = to_stored(internal_type, str(value))
        return None if numeric and isinstance(read_again, str) else read_again

    _rewrite(instance, table, element, read)


def _rewrite(instance: Ground, table: str, element: str, change: Callable[[Stored], Stored]) -> None:
    """Neither stamps nor counts move: the database alters its columns."""
    dictionary, storage = instance.dictionary, instance.storage
    if table not in dictionary.tables or not storage.has(dictionary.root(table), element):
        return
    root, classes = dictionary.root(table), set(dictionary.classes(table))
    sql = f"SELECT sys_id, sys_class_name, {quote(element)} FROM {quote(root)} WHERE {quote(element)} IS NOT NULL"  # noqa: S608 - quoted names
    with storage.transaction():
        for sys_id, of_class, value in storage.rows(sql):
            changed = change(value)
            if changed != value and (of_class or table) in classes:
                storage.update(root, str(sys_id), {element: changed})
