"""Import sets: staging rows, and their transformation by transform maps into target records (servicenow-api.md 6.1).

Maps, field maps and transform scripts are records (sys_transform_map, sys_transform_entry, sys_transform_script). A run is
one map over the rows of one set: onStart; for each row the target by its coalesce columns, onBefore, the other field maps
(with onForeignInsert, onChoiceCreate, onReject), the map's script, the write, onAfter; then onComplete (KB0745411).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from nowtwin.accounts.users import User
from nowtwin.errors import Refused
from nowtwin.imports.fields_mapped import FieldMap, FieldMaps, Rejected
from nowtwin.imports.scripts import Context, TransformScripts, Verdict
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, equalities, find, select
from nowtwin.records.write_rules import Manner

ROW = "sys_import_set_row"
SET = "sys_import_set"
_SYSTEM = frozenset({"sys_import_set", "sys_import_row", "sys_import_state"})


@dataclass(frozen=True, slots=True)
class Transformed:
    """What one map made of one row."""

    map_name: str
    table: str
    status: str
    """inserted, updated, ignored, skipped (no value to coalesce on) or error, as in sys_import_state (r_ImportSetMode.md)."""
    sys_id: str = ""
    message: str = ""
    map_id: str = ""
    halts: bool = False
    """A script ended the whole transformation with this row."""
    response: Mapping[str, str] = field(default_factory=dict)
    """What scripts added to the answer."""


class Imports:
    """Stages and transforms in the name of one user."""

    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user
        self._scripts = TransformScripts(instance, user)
        self._fields = FieldMaps(instance, user)

    # -- staging -----------------------------------------------------------------------------------------------

    def open_set(self, table: str) -> Record:
        """The import set in state Loading that single rows go into, a new synchronous one where there is none.

        Synchronous sets of earlier days are Processed since midnight (r_ImportSetMode.md).
        """
        today = f"{self._instance.clock.stamp()[:10]} 00:00:00"
        past = parse(f"table_name={table}^state=loading^mode=sync^sys_created_on<{today}")
        for row in select(self._instance, SET, past, ("sys_id",)):
            self.mark(row["sys_id"], "processed")
        query = parse(f"table_name={table}^state=loading^ORDERBYDESCsys_created_on^ORDERBYsys_id")
        known = next(iter(select(self._instance, SET, query, ("sys_id",), 1)), None)
        return self._instance.record(SET, known["sys_id"]) if known else self.new_set(table, "sync")

    def new_set(self, table: str, mode: str) -> Record:
        values = {"table_name": table, "state": "loading", "mode": mode, "creation_source": "REST API"}
        return self._instance.records.insert(SET, values, self._user, self._instance.switches)

    def mark(self, sys_id: str, state: str) -> None:
        """Set the state of an import set."""
        record = self._instance.records.read(SET, sys_id)
        if record is not None:
            self._instance.records.update(record, {"state": state}, self._user, self._instance.switches)

    def stage(self, table: str, import_set: Record, values: Mapping[str, str]) -> Record:
        """Store one staging row; columns that the staging table lacks are ignored."""
        number = self._instance.count(table, f"sys_import_set={import_set.sys_id}")
        given = {element: text for element, text in values.items() if element not in _SYSTEM}
        given |= {"sys_import_set": import_set.sys_id, "sys_import_row": str(number), "sys_import_state": "pending"}
        return self._instance.records.insert(table, given, self._user, self._instance.switches)

    # -- transforming ------------------------------------------------------------------------------------------

    def maps(self, table: str) -> list[Row]:
        """Active maps of a staging table in their order."""
        rows = select(self._instance, "sys_transform_map", equalities({"source_table": table, "active": "true"}))
        known = [row for row in rows if row["target_table"] in self._instance.dictionary.tables]
        return sorted(known, key=lambda row: (int(row["order"] or 100), row["sys_id"]))

    def transform(self, row: Record) -> list[Transformed]:
        """Run every map of the row's table on it alone, as a POST of one row does."""
        import_set = self._instance.read(SET, row.values.get("sys_import_set", "")) or {}
        return [done for transform_map in self.maps(row.table) for done in self._run(transform_map, import_set, [row])]

    def _run(self, transform_map: Row, import_set: Mapping[str, str], rows: Sequence[Record]) -> list[Transformed]:
        """One map over all rows, between `onStart` and `onComplete`; a row remembers what the last map did."""
        if not rows:
            return []
        first = Context(transform_map, import_set, rows[0], {})
        verdict = self._scripts.at("onStart", first)
        if verdict.refuses:
            done = _transformed(transform_map, verdict.status, message=verdict.message)
            self._file(rows[0], done)
            return [done]
        results: list[Transformed] = []
        for row in rows:
            results.append(self._run_row(first, row))
            self._file(row, results[-1])
            if results[-1].halts:
                break
        target = self._instance.read(transform_map["target_table"], results[-1].sys_id) or {}
        if self._scripts.at("onComplete", replace(first, row=rows[-1], target=target)).failed:
            self.mark(import_set.get("sys_id", ""), "error")
        return results

    def _file(self, row: Record, done: Transformed) -> None:
        state: dict[str, str] = {
            "sys_import_state": done.status,
            "sys_import_state_comment": done.message,
            "sys_target_table": done.table,
            "sys_target_sys_id": done.sys_id,
            "sys_transform_map": done.map_id,
        }
        present = self._instance.record(row.table, row.sys_id)
        self._instance.records.update(present, state, self._user, self._instance.switches)

    def _run_row(self, first: Context, row: Record) -> Transformed:
        context = replace(first, row=row)
        try:
            return self._apply(context)
        except Rejected as rejected:
            return _transformed(context.transform_map, "ignored", message=str(rejected))
        except Refused as refused:
            return _transformed(context.transform_map, "error", message=refused.detail or refused.message)

    def _apply(self, context: Context) -> Transformed:
        """One row under one map, in the order of KB0745411: coalesce, onBefore, field maps, script, write, onAfter."""
        transform_map = context.transform_map
        maps = self._fields.of(transform_map["sys_id"])
        keys = self._values(context, [field for field in maps if field.coalesce])
        target, ignored = self._target(transform_map, maps, keys)
        if ignored:
            return _transformed(transform_map, "skipped", message=ignored)
        present = dict(target.values) if target else {}
        context = replace(context, target=present | keys, action="update" if target else "insert")
        before = self._scripts.at("onBefore", context)
        if before.refuses:
            done = _transformed(transform_map, before.status, message=before.message, response=before.response)
            if before.failed:
                return replace(done, halts=True)
            self._scripts.at("onAfter", context)  # runs for an ignored row too, as documented
            return done
        values = keys | _changed(before.values, context.target)
        values |= self._values(context, [field for field in maps if not field.coalesce])
        context = replace(context, target=present | values)
        main = self._scripts.of_map(context)
        response = {**before.response, **main.response}
        if main.refuses:
            return _transformed(transform_map, main.status, message=main.message, response=response)
        values |= _changed(main.values, context.target)
        missing = self._missing(transform_map, maps, present | values)
        if missing:
            message = f"Target record has missing mandatory fields: {', '.join(missing)}"
            return _transformed(transform_map, "error", message=message)
        said = main.message or before.message
        return self._save(context, target, values, Verdict(message=said, response=response))

    def _save(self, context: Context, target: Record | None, values: Mapping[str, str], said: Verdict) -> Transformed:
        """Write the target, then onAfter."""
        transform_map = context.transform_map
        written, status = self._write(transform_map, target, values)
        after = self._scripts.at("onAfter", replace(context, target=dict(written.values)))
        unchanged = "No field values changed" if status == "ignored" else ""
        return Transformed(
            map_name=transform_map["name"],
            table=transform_map["target_table"],
            status="error" if after.failed else status,
            sys_id=written.sys_id,
            message=after.message or said.message or unchanged,
            map_id=transform_map["sys_id"],
            halts=after.failed,
            response={**said.response, **after.response},
        )

    def _values(self, context: Context, maps: list[FieldMap]) -> dict[str, str]:
        """Of these field maps; empties count only where the map copies them."""
        table, creation = context.transform_map["target_table"], _ScriptedCreation(self._scripts, context)
        values = self._fields.values(maps, table, context.row, creation)
        copied = context.transform_map["copy_empty_fields"] == "true"
        return values if copied else {element: text for element, text in values.items() if text}

    def _write(self, transform_map: Row, target: Record | None, values: Mapping[str, str]) -> tuple[Record, str]:
        switches = self._instance.switches
        manner = Manner(workflow=transform_map["run_business_rules"] != "false")
        if target is None:
            table = transform_map["target_table"]
            return self._instance.records.insert(table, values, self._user, switches, manner=manner), "inserted"
        cleared = {element: text or "NULL" for element, text in values.items()}
        written = self._instance.records.update(target, cleared, self._user, switches, manner=manner)
        unchanged = written.values.get("sys_mod_count") == target.values.get("sys_mod_count")
        return written, "ignored" if unchanged else "updated"

    def _target(self, transform_map: Row, maps: list[FieldMap], values: Mapping[str, str]) -> tuple[Record | None, str]:
        """The record that the coalesce columns find, and why the row is skipped, if it is."""
        keys = [field for field in maps if field.coalesce]
        if not keys:
            return None, ""
        wanted = {field.target: values.get(field.target, "") for field in keys}
        if not any(wanted.values()) and not any(field.coalesce_empty for field in keys):
            creates = transform_map["create_new_record_on_empty_coalesce_fields"] == "true"
            return None, "" if creates else "All coalesce fields are empty"
        present = {f.target: wanted[f.target] for f in keys if wanted[f.target] or f.coalesce_empty}
        found = find(self._instance, transform_map["target_table"], present)
        exact = found is None or all(found[f.target] == present[f.target] for f in keys if f.case_sensitive)
        if found is None or not exact:
            return None, ""
        return self._instance.records.read(transform_map["target_table"], found["sys_id"]), ""

    def _missing(self, transform_map: Row, maps: list[FieldMap], values: Mapping[str, str]) -> list[str]:
        """Labels of mandatory columns without a value, as far as the map enforces them."""
        enforced = transform_map["enforce_mandatory_fields"]
        if enforced not in {"only_mapped_fields", "all_fields"}:
            return []
        mapped = {field.target for field in maps}
        columns = self._instance.dictionary.columns(transform_map["target_table"])
        return [
            column.label or element
            for element, column in columns.items()
            if column.mandatory and not values.get(element) and (enforced == "all_fields" or element in mapped)
        ]

    # -- whole sets --------------------------------------------------------------------------------------------

    def transform_set(self, sys_id: str) -> None:
        """Transform the pending rows of an import set and file its runs; one that was processed stays as it is."""
        import_set = self._instance.records.read(SET, sys_id)
        if import_set is None or import_set.values.get("state") == "processed":
            return
        table = import_set.values.get("table_name", "")
        pending = parse(f"sys_import_set={sys_id}^sys_import_state=pending^ORDERBYsys_import_row")
        rows = [
            self._instance.record(table, row["sys_id"]) for row in select(self._instance, table, pending, ("sys_id",))
        ]
        for transform_map in self.maps(table):
            mine = [done.status for done in self._run(transform_map, import_set.values, rows)]
            self._instance.load("sys_import_set_run", [self._run_entry(sys_id, transform_map["sys_id"], mine)])
        import_set = self._instance.record(SET, sys_id)
        state = "error" if import_set.values.get("state") == "error" else "processed"
        done = {"state": state, "load_completed": self._instance.clock.stamp()}
        self._instance.records.update(import_set, done, self._user, self._instance.switches)

    def _run_entry(self, sys_id: str, map_id: str, statuses: list[str]) -> dict[str, str]:
        return {
            "set": sys_id,
            "sys_transform_map": map_id,
            "state": "complete" if "error" not in statuses else "complete_with_errors",
            "total": str(len(statuses)),
            "processed": str(len(statuses)),
            "inserts": str(statuses.count("inserted")),
            "updates": str(statuses.count("updated")),
            "ignored": str(statuses.count("ignored")),
            "skipped": str(statuses.count("skipped")),
            "errors": str(statuses.count("error")),
            "completed": self._instance.clock.stamp(),
        }


class _ScriptedCreation:
    """Lets `onForeignInsert`, `onChoiceCreate` and `onReject` scripts of a row have their say."""

    def __init__(self, scripts: TransformScripts, context: Context) -> None:
        self._scripts = scripts
        self._context = context

    def allowed(self, event: str, element: str, text: str) -> bool:
        verdict = self._scripts.at(event, replace(self._context, name=element, value=text))
        if verdict.failed:
            raise Rejected(verdict.message or f"Row rejected: {event} for {element}")
        return not verdict.ignored

    def rejected(self, element: str, text: str) -> None:
        self._scripts.at("onReject", replace(self._context, name=element, value=text))


def _changed(values: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    return {element: text for element, text in values.items() if text != before.get(element, "")}


def _transformed(
    transform_map: Row, status: str, *, message: str, response: Mapping[str, str] | None = None
) -> Transformed:
    """A row that made no record."""
    return Transformed(
        map_name=transform_map["name"],
        table=transform_map["target_table"],
        status=status,
        message=message,
        map_id=transform_map["sys_id"],
        response=response or {},
    )
