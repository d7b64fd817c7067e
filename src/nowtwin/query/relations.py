"""What statements read from: the physical rows of a table, those of a class among them, and a column of theirs."""

from nowtwin.schema.dictionary import METADATA_ROOT, Dictionary
from nowtwin.storage.rows import Storage, quote

NOTHING = "NULL"


def relation(dictionary: Dictionary, storage: Storage, table: str, roots: set[str]) -> str:
    """The rows of the table's tree; adds the physical tables that are read to `roots`."""
    root = dictionary.root(table)
    if root == METADATA_ROOT:
        return _all_metadata(dictionary, storage, roots)
    roots.add(root)
    storage.ensure(root)
    return quote(root)


def _all_metadata(dictionary: Dictionary, storage: Storage, roots: set[str]) -> str:
    """sys_metadata is stored nowhere: it is the union of the tables that extend it."""
    columns = list(dictionary.columns(METADATA_ROOT))
    storage.ensure(METADATA_ROOT)
    parts = []
    for root in storage.roots():
        if METADATA_ROOT in dictionary.lineage(root):
            roots.add(root)
            names = (quote(c) if storage.has(root, c) else f"NULL AS {quote(c)}" for c in columns)
            parts.append(f"SELECT {', '.join(names)} FROM {quote(root)}")  # noqa: S608 - quoted names
    return "(" + " UNION ALL ".join(parts) + ")"


def class_condition(dictionary: Dictionary, table: str, alias: str) -> str | None:
    """Rows of this class and its descendants; None when that is every row of the relation."""
    if table in {dictionary.root(table), METADATA_ROOT}:
        return None
    names = ["'" + name.replace("'", "''") + "'" for name in dictionary.classes(table)]
    if len(names) == 1:
        return f"{alias}.sys_class_name = {names[0]}"
    # The plus keeps the planner from reading class by class, which would need a sort of the whole table.
    return f"+{alias}.sys_class_name IN ({', '.join(names)})"


def column_sql(dictionary: Dictionary, storage: Storage, table: str, alias: str, element: str) -> str:
    """The column under an alias; NOTHING where no row holds a value yet."""
    if table == METADATA_ROOT or storage.has(dictionary.root(table), element):
        return f"{alias}.{quote(element)}"
    return NOTHING
