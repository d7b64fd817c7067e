"""Import sets: staging rows, and their transformation by transform maps into target records (servicenow-api.md 6.1).

Maps, field maps and transform scripts are records (sys_transform_map, sys_transform_entry, sys_transform_script). Of
transform scripts those before and after a row run (`onBefore`, `onAfter`), as does the script of a map; the events of a
whole import (`onStart`, `onComplete`) and of choices and references do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nowtwin.errors import Refused
from nowtwin.fields_mapped import FieldMap, FieldMaps, Rejected
from nowtwin.instance import Instance
from nowtwin.query.parse import parse
from nowtwin.records import Record
from nowtwin.selecting import Row, equalities, find, select
from nowtwin.transform_scripts import TransformScripts, Verdict
from nowtwin.users import User
from nowtwin.write_rules import Manner

ROW = "sys_import_set_row"
SET = "sys_import_set"
_SYSTEM = frozenset({"sys_import_set", "sys_import_row", "sys_import_state"})


@dataclass(frozen=True, slots=True)
class Transformed:
    """What one map made of one row."""

    map_name: str
    table: str
    status: str
    """inserted, updated, ignored or error, as in sys_import_state."""
    sys_id: str = ""
    message: str = ""
    map_id: str = ""


class Imports:
    """Stages and transforms in the name of one user."""

    def __init__(self, instance: Instance, user: User) -> None:
        self._instance = instance
        self._user = user
        self._scripts = TransformScripts(instance, user)
        self._fields = FieldMaps(instance, user)

    # -- staging -----------------------------------------------------------------------------------------------

    def open_set(self, table: str) -> Record:
        """The import set that single rows of today go into; one per staging table and day (an assumption)."""
        today = self._instance.clock.stamp()[:10]
        query = parse(f"table_name={table}^state=loading^mode=sync^sys_created_on>={today} 00:00:00")
        known = next(iter(select(self._instance, SET, query, ("sys_id",), 1)), None)
        return self._instance.record(SET, known["sys_id"]) if known else self.new_set(table, "sync")

    def new_set(self, table: str, mode: str) -> Record:
        values = {"table_name": table, "state": "loading", "mode": mode, "creation_source": "REST API"}
        return self._instance.records.insert(SET, values, self._user, self._instance.switches)

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
        """Run every map of the row's table; the row remembers what the last one did."""
        results = [self._run_map(transform_map, row) for transform_map in self.maps(row.table)]
        if results:
            last = results[-1]
            state: dict[str, str] = {
                "sys_import_state": last.status,
                "sys_import_state_comment": last.message,
                "sys_target_table": last.table,
                "sys_target_sys_id": last.sys_id,
                "sys_transform_map": last.map_id,
            }
            self._instance.records.update(row, state, self._user, self._instance.switches)
        return results

    def _run_map(self, transform_map: Row, row: Record) -> Transformed:
        name, table, map_id = transform_map["name"], transform_map["target_table"], transform_map["sys_id"]
        try:
            status, sys_id, message = self._apply(transform_map, row)
        except Rejected as rejected:
            return Transformed(name, table, "ignored", "", str(rejected), map_id)
        except Refused as refused:
            return Transformed(name, table, "error", "", refused.detail or refused.message, map_id)
        return Transformed(name, table, status, sys_id, message, map_id)

    def _apply(self, transform_map: Row, row: Record) -> tuple[str, str, str]:
        """Status, target and message of one row under one map."""
        maps = self._fields.of(transform_map["sys_id"])
        values = self._fields.values(maps, transform_map["target_table"], row)
        if transform_map["copy_empty_fields"] != "true":
            values = {element: text for element, text in values.items() if text}
        target, ignored = self._target(transform_map, maps, values)
        if ignored:
            return "ignored", "", ignored
        present = dict(target.values) if target else {}
        verdict = self._scripts.before(transform_map, row, present | values, inserting=target is None)
        if verdict.refuses:
            return verdict.status, "", verdict.message
        values |= {e: text for e, text in verdict.values.items() if text != (present | values).get(e, "")}
        missing = self._missing(transform_map, maps, present | values)
        if missing:
            return "error", "", f"Target record has missing mandatory fields: {', '.join(missing)}"
        return self._write(transform_map, row, target, values, verdict)

    def _write(
        self, transform_map: Row, row: Record, target: Record | None, values: dict[str, str], verdict: Verdict
    ) -> tuple[str, str, str]:
        switches = self._instance.switches
        manner = Manner(workflow=transform_map["run_business_rules"] != "false")
        if target is None:
            table = transform_map["target_table"]
            written = self._instance.records.insert(table, values, self._user, switches, manner=manner)
            status = "inserted"
        else:
            cleared = {element: text or "NULL" for element, text in values.items()}
            written = self._instance.records.update(target, cleared, self._user, switches, manner=manner)
            unchanged = written.values.get("sys_mod_count") == target.values.get("sys_mod_count")
            status = "ignored" if unchanged else "updated"
        message = verdict.message or ("No field values changed" if status == "ignored" else "")
        self._scripts.after(transform_map, row, dict(written.values))
        return status, written.sys_id, message

    def _target(self, transform_map: Row, maps: list[FieldMap], values: Mapping[str, str]) -> tuple[Record | None, str]:
        """The record that the coalesce columns find, and why the row is ignored, if it is."""
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
        """Transform the pending rows of an import set and file its run; one that was processed stays as it is."""
        import_set = self._instance.records.read(SET, sys_id)
        if import_set is None or import_set.values.get("state") == "processed":
            return
        table = import_set.values.get("table_name", "")
        pending = parse(f"sys_import_set={sys_id}^sys_import_state=pending^ORDERBYsys_import_row")
        rows = select(self._instance, table, pending, ("sys_id",))
        results = [done for row in rows for done in self.transform(self._instance.record(table, row["sys_id"]))]
        for transform_map in self.maps(table):
            mine = [done.status for done in results if done.map_id == transform_map["sys_id"]]
            self._instance.load("sys_import_set_run", [self._run_row(sys_id, transform_map["sys_id"], mine)])
        done = {"state": "processed", "load_completed": self._instance.clock.stamp()}
        self._instance.records.update(import_set, done, self._user, self._instance.switches)

    def _run_row(self, sys_id: str, map_id: str, statuses: list[str]) -> dict[str, str]:
        return {
            "set": sys_id,
            "sys_transform_map": map_id,
            "state": "complete" if "error" not in statuses else "complete_with_errors",
            "total": str(len(statuses)),
            "processed": str(len(statuses)),
            "inserts": str(statuses.count("inserted")),
            "updates": str(statuses.count("updated")),
            "ignored": str(statuses.count("ignored")),
            "errors": str(statuses.count("error")),
            "completed": self._instance.clock.stamp(),
        }
