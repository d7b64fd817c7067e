"""The dictionary as rows: sys_db_object, sys_dictionary, sys_choice, sys_documentation, sys_glide_object, sys_number.

Rows are made from the dictionary with sys_ids derived from their names, so they are the same in every instance, and a
write to one of these tables (a custom table, column or choice) is taken back into the dictionary.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from nowtwin.schema.class_paths import class_code, class_path
from nowtwin.schema.dictionary import Choice, Column, Dictionary, Table, label_of
from nowtwin.schema.numbering import DEFAULT_DIGITS, MOST_DIGITS
from nowtwin.values import DECIMAL_TYPES, INTEGER_TYPES, number_of

TABLES = frozenset(
    {"sys_db_object", "sys_dictionary", "sys_choice", "sys_documentation", "sys_glide_object", "sys_number"},
)
KEYS: Mapping[str, tuple[str, ...]] = {
    "sys_db_object": ("name",),
    "sys_dictionary": ("name", "element"),
    "sys_choice": ("name", "element", "value", "dependent_value", "language"),
    "sys_documentation": ("name", "element", "language"),
    "sys_glide_object": ("name",),
    "sys_number": ("category",),
}
"""What a row of a metadata table is about: no two rows share it."""
INSTALLED_AT = "2024-02-01 09:00:00"
"""When the shipped metadata claims to have been made."""
_DEFAULT_START = 10_000
_PARTITIONED = "cmdb"
"""The tree that is stored in partitions (servicenow-api.md 3.3)."""
_MULTILINE = 4000

Row = dict[str, str]


def row_id(*names: str) -> str:
    """A stable sys_id for a thing known by its name."""
    return hashlib.blake2b("\n".join(names).encode(), digest_size=16).hexdigest()


def rows(dictionary: Dictionary) -> Iterator[tuple[str, list[Row]]]:
    """Every metadata table with its rows. Database views are listed in sys_db_view alone: what enumerates tables on the
    platform, and in connectors, reads that table besides.
    """
    tables = [table for table in dictionary.tables.values() if table.view is None]
    yield "sys_db_object", [_table_row(dictionary, table) for table in tables]
    columns = [column for table in tables for column in _declared(dictionary, table)]
    yield "sys_dictionary", [_collection_row(table) for table in tables] + [_column_row(c, dictionary) for c in columns]
    yield (
        "sys_documentation",
        [_table_label_row(dictionary, table) for table in tables]
        + [_column_label_row(column) for table in tables for column in _own(dictionary, table)],
    )
    yield "sys_choice", [_choice_row(choice) for choice in dictionary.all_choices()]
    types = sorted({column.type for column in columns} | {"collection"})
    yield "sys_glide_object", [_type_row(name) for name in types]
    yield "sys_number", [_number_row(table) for table in tables if table.number_prefix]


def rows_about(dictionary: Dictionary, name: str) -> Iterator[tuple[str, list[Row]]]:
    """What the dictionary's tables say of a table beside its own row: itself, its columns, their labels."""
    table = dictionary.tables[name]
    columns = _declared(dictionary, table)
    yield "sys_dictionary", [_collection_row(table), *(_column_row(column, dictionary) for column in columns)]
    labelled = map(_column_label_row, _own(dictionary, table))
    yield "sys_documentation", [_table_label_row(dictionary, table), *labelled]


def _declared(dictionary: Dictionary, table: Table) -> list[Column]:
    """Columns that have a dictionary entry on this table. A class of a partitioned tree has copies of all entries above it
    (D:table-extension-and-classes.md).
    """
    if table.super_class and _is_partitioned(dictionary, table.name):
        return [replace(column, table=table.name) for column in dictionary.declared_columns(table.name).values()]
    return _own(dictionary, table)


def _own(dictionary: Dictionary, table: Table) -> list[Column]:
    """The columns that stand on this table, and the sys_ columns on a top table."""
    own = {column.element: column for column in dictionary.own_columns(table.name)}
    if not table.super_class:
        for element, column in dictionary.columns(table.name).items():
            own.setdefault(element, column)
    return list(own.values())


def _is_partitioned(dictionary: Dictionary, table: str) -> bool:
    return dictionary.root(table) == _PARTITIONED


def _bool(value: object) -> str:
    return "true" if value else "false"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _metadata(kind: str, name: str, sys_id: str) -> Row:
    return {
        "sys_id": sys_id,
        "sys_class_name": kind,
        "sys_name": name,
        "sys_update_name": f"{kind}_{sys_id}",
        "sys_scope": "global",
        "sys_package": "global",
        "sys_created_on": INSTALLED_AT,
        "sys_updated_on": INSTALLED_AT,
        "sys_created_by": "system",
        "sys_updated_by": "system",
        "sys_mod_count": "0",
    }


def _table_row(dictionary: Dictionary, table: Table) -> Row:
    label = dictionary.table_label(table.name)
    parent = table.super_class
    model = "partition" if _is_partitioned(dictionary, table.name) else ""
    hierarchy = (table.attributes or {}).get("extension_model", model)
    return _metadata("sys_db_object", label, row_id("sys_db_object", table.name)) | {
        "name": table.name,
        "label": label,
        "super_class": row_id("sys_db_object", parent) if parent else "",
        "extension_model": _text(hierarchy),
        "is_extendable": _bool(table.extensible or dictionary.children(table.name)),
        "number_ref": row_id("sys_number", table.name) if table.number_prefix else "",
        "access": "public",
        "ws_access": _bool(table.ws_access is not False),
        "read_access": "true",
        "sys_class_code": class_code(dictionary, table.name),
        "sys_class_path": class_path(dictionary, table.name),
    }


def _collection_row(table: Table) -> Row:
    return _metadata("sys_dictionary", table.name, row_id("sys_dictionary", table.name, "")) | {
        "name": table.name,
        "internal_type": "collection",
        "active": "true",
        "audit": _bool(table.audit),
        "column_label": "",
    }


def _column_row(column: Column, dictionary: Dictionary) -> Row:
    display = dictionary.tables[column.table].display
    return _metadata("sys_dictionary", column.label or "", row_id("sys_dictionary", column.table, column.element)) | {
        "name": column.table,
        "element": column.element,
        "column_label": column.label or label_of(column.element),
        "internal_type": column.type,
        "reference": column.reference or "",
        "reference_key": "" if column.reference_key == "sys_id" else column.reference_key,
        "max_length": _text(column.max_length or usual_length(column.type)),
        "mandatory": _bool(column.mandatory),
        "read_only": _bool(column.read_only),
        "read_only_option": column.read_only_option or "instance_configured",
        "unique": _bool(column.unique or column.element == "sys_id"),
        "primary": _bool(column.element == "sys_id"),
        "display": _bool(display == column.element),
        "active": _bool(column.active is not False),
        "virtual": _bool(column.calculation),
        "calculation": column.calculation or "",
        "function_field": _bool(column.function),
        "function_definition": column.function or "",
        "array": "false",
        "audit": "false",
        "default_value": column.default or "",
        "choice": _text(column.choice or 0),
        "choice_table": column.choice_table or "",
        "choice_field": column.choice_field or "",
        "dependent": column.dependent or "",
        "reference_cascade_rule": column.cascade or "",
    }


def usual_length(internal_type: str) -> int:
    if internal_type in {"reference", "GUID", "document_id"}:
        return 32
    if internal_type in {"journal_input", "journal", "html", "script", "xml", "conditions", "glide_list"}:
        return _MULTILINE
    return 40


def _table_label_row(dictionary: Dictionary, table: Table) -> Row:
    label = dictionary.table_label(table.name)
    return _metadata("sys_documentation", label, row_id("sys_documentation", table.name, "")) | {
        "name": table.name,
        "label": label,
        "plural": f"{label}s",
        "language": "en",
    }


def _column_label_row(column: Column) -> Row:
    label = column.label or label_of(column.element)
    return _metadata("sys_documentation", label, row_id("sys_documentation", column.table, column.element)) | {
        "name": column.table,
        "element": column.element,
        "label": label,
        "plural": f"{label}s",
        "language": "en",
        "hint": column.hint or "",
    }


def _choice_row(choice: Choice) -> Row:
    names = (choice.table, choice.element, choice.value, choice.dependent_value, choice.language)
    return _metadata("sys_choice", choice.label, row_id("sys_choice", *names)) | {
        "name": choice.table,
        "element": choice.element,
        "value": choice.value,
        "label": choice.label,
        "language": choice.language,
        "sequence": _text(choice.sequence),
        "inactive": _bool(choice.inactive),
        "dependent_value": choice.dependent_value,
    }


def _type_row(name: str) -> Row:
    scalar = "string"
    if name in INTEGER_TYPES:
        scalar = "integer"
    elif name in DECIMAL_TYPES:
        scalar = "decimal"
    elif name in {"boolean", "glide_date_time", "glide_date"}:
        scalar = {"boolean": "boolean", "glide_date_time": "datetime", "glide_date": "date"}[name]
    return _metadata("sys_glide_object", name, row_id("sys_glide_object", name)) | {
        "name": name,
        "label": label_of(name),
        "scalar_type": scalar,
        "visible": "true",
    }


def _number_row(table: Table) -> Row:
    return _metadata("sys_number", table.name, row_id("sys_number", table.name)) | {
        "category": table.name,
        "prefix": table.number_prefix or "",
        "number": str(table.number_start or _DEFAULT_START),
        "maximum_digits": str(table.number_digits or DEFAULT_DIGITS),
    }


# -- from rows back into the dictionary ----------------------------------------------------------------------------


def take_in(dictionary: Dictionary, table: str, row: Mapping[str, str]) -> None:
    """A row of a metadata table was written: the dictionary follows."""
    if table == "sys_db_object" and row.get("name"):
        dictionary.add_table(_table_of(dictionary, row))
        dictionary.set_web_access(row["name"], allowed=row.get("ws_access") != "false")
    elif table == "sys_dictionary" and row.get("name") and row.get("element"):
        dictionary.put_column(_column_of(row))
    elif table == "sys_dictionary" and row.get("name") in dictionary.tables:
        dictionary.set_audit(row["name"], audited=row.get("audit") == "true")
    elif table == "sys_choice" and row.get("name") and row.get("element"):
        dictionary.put_choice(_choice_of(row))
    elif table == "sys_number" and row.get("category") in dictionary.tables:
        start, digits = number_of(row.get("number", "")), number_of(row.get("maximum_digits", ""))
        usable = None if digits is None or not 0 < digits <= MOST_DIGITS else int(digits)
        prefix = row.get("prefix", "")
        dictionary.set_number(row["category"], prefix, None if start is None else max(0, int(start)), usable)


def take_out(dictionary: Dictionary, table: str, row: Mapping[str, str]) -> None:
    """A row of a metadata table was deleted."""
    if table == "sys_dictionary" and row.get("element"):
        dictionary.drop_column(row.get("name", ""), row["element"])
    elif table == "sys_choice":
        dictionary.drop_choice(_choice_of(row))
    elif table == "sys_number" and row.get("category") in dictionary.tables:
        dictionary.set_number(row["category"], "", None, None)


def _table_of(dictionary: Dictionary, row: Mapping[str, str]) -> Table:
    parents = {row_id("sys_db_object", name): name for name in dictionary.tables}
    parent = row.get("super_class", "")
    return Table(
        name=row["name"],
        label=row.get("label") or None,
        super_class=parents.get(parent) or (parent if parent in dictionary.tables else None),
        extensible=row.get("is_extendable") == "true",
        ws_access=row.get("ws_access") != "false",
    )


def _column_of(row: Mapping[str, str]) -> Column:
    length = number_of(row.get("max_length", ""))
    choice = number_of(row.get("choice", ""))
    return Column(
        table=row["name"],
        element=row["element"],
        type=row.get("internal_type") or "string",
        label=row.get("column_label") or None,
        reference=row.get("reference") or None,
        reference_key=row.get("reference_key") or "sys_id",
        max_length=None if length is None else int(length),
        mandatory=row.get("mandatory") == "true",
        read_only=row.get("read_only") == "true",
        read_only_option=row.get("read_only_option") or None,
        choice=None if choice is None else int(choice),
        choice_table=row.get("choice_table") or None,
        choice_field=row.get("choice_field") or None,
        default=row.get("default_value") or None,
        dependent=row.get("dependent") or None,
        unique=row.get("unique") == "true",
        active=row.get("active") != "false",
        cascade=row.get("reference_cascade_rule") or None,
        function=row.get("function_definition") or None if row.get("function_field") == "true" else None,
        calculation=row.get("calculation") or None if row.get("virtual") == "true" else None,
    )


def _choice_of(row: Mapping[str, str]) -> Choice:
    sequence = number_of(row.get("sequence", ""))
    return Choice(
        table=row.get("name", ""),
        element=row.get("element", ""),
        value=row.get("value", ""),
        label=row.get("label", ""),
        sequence=None if sequence is None else int(sequence),
        dependent_value=row.get("dependent_value", ""),
        inactive=row.get("inactive") == "true",
        language=row.get("language") or "en",
    )
