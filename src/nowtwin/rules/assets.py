"""Assets and CIs: one makes the other by model category, and mapped columns follow (servicenow-api.md 11.2).

Built-in rules of the platform, run by `consequences`; what follows from what is `asset_sync`. A write that a rule makes here does not set off the rule of the other tree again.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from nowtwin.accounts.users import User
from nowtwin.errors import Refused, failed
from nowtwin.query.parse import parse
from nowtwin.records.ground import Ground
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, find, select
from nowtwin.records.write_rules import Pending
from nowtwin.rules.asset_sync import AssetSync

QUEUE = "alm_asset_creation_queue"
JOB = "Asset - Create asset delayed sync"

_IN_STOCK = "6"
_NO_CI = frozenset({"alm_consumable", "alm_license"})
"""Asset classes whose categories may not name a CI class (rule "Enforce CI Rules")."""


class Assets:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance
        self._sync = AssetSync(instance)
        self._mirroring = False
        self._due: datetime | None = None

    # -- before the write --------------------------------------------------------------------------------------

    def complete_asset(self, pending: Pending) -> None:
        """Display name, default substatus, retirement. Raises Refused 403 where IRE mode forbids the insert."""
        values, before = pending.values, pending.before
        if any(_differs(pending, element) for element in ("asset_tag", "model", "display_name")) or not before:
            values["display_name"] = self._display_name(values)
        status = values.get("install_status", "")
        if status == _IN_STOCK and _differs(pending, "install_status") and not values.get("substatus"):
            values["substatus"] = "available"
        retired = str(self._instance.switches.asset_retired_status)
        if status == retired and before.get("install_status") != retired:
            values |= dict.fromkeys(("assigned_to", "stockroom", "reserved_for"), "")
            values["retired"] = values.get("retired") or self._instance.clock.stamp()[:10]
        if pending.operation == "insert" and self._makes_ci_with_ire(values):
            self._require_new_serial(values)

    def _display_name(self, values: Mapping[str, str]) -> str:
        """`P1000479 - Apple MacBook Pro 15"`, as the demo records of ServiceNow show it."""
        model = self._instance.read("cmdb_model", values.get("model", "")) or {}
        parts = (values.get("asset_tag", ""), model.get("display_name") or model.get("name", ""))
        return " - ".join(filter(None, parts)) or "Unknown"

    def _require_new_serial(self, values: Mapping[str, str]) -> None:
        serial = values.get("serial_number", "")
        if not serial:
            raise failed("Serial number is required to create an asset with its configuration item")
        for table in ("alm_asset", "cmdb_ci"):
            if find(self._instance, table, {"serial_number": serial}, ("sys_id",)):
                raise failed(f"Serial number {serial} already exists on a record of {table}")

    def check_category(self, pending: Pending) -> None:
        """Raises Refused 403 for a category of consumables or licences that names a CI class."""
        asset_class = pending.values.get("asset_class", "")
        if pending.values.get("cmdb_ci_class") and _NO_CI.intersection(self._instance.dictionary.lineage(asset_class)):
            raise failed(f"A category with asset class {asset_class} cannot have a CI class")

    def name_model(self, pending: Pending) -> None:
        """A model displays as manufacturer and name (the composition is an assumption, a switch)."""
        values = pending.values
        if not any(_differs(pending, element) for element in ("name", "manufacturer", "display_name")):
            return
        name = values.get("name", "")
        company = self._instance.read("core_company", values.get("manufacturer", "")) or {}
        maker = company.get("name", "") if self._instance.switches.model_named_with_manufacturer else ""
        values["display_name"] = name if name.startswith(maker) else f"{maker} {name}".strip()

    # -- after the write ---------------------------------------------------------------------------------------

    def _stays_alone(self, pending: Pending) -> bool:
        """Whether the write is not to be mirrored: it is a mirror image itself, or marked so."""
        marked = pending.values.get("skip_sync") == "true" and self._instance.switches.skip_sync_honoured
        return self._mirroring or marked

    def follow_asset(self, pending: Pending) -> None:
        """A new asset makes its CI, a changed one changes it."""
        if self._stays_alone(pending):
            return
        with self._mirror():
            if pending.operation == "insert":
                if not pending.values.get("ci"):
                    self._create_ci(pending)
            elif pending.operation == "update":
                self._update_ci(pending)
            elif pending.values.get("ci"):
                self._write("cmdb_ci", pending.values["ci"], {"asset": ""}, pending.user)

    def follow_ci(self, pending: Pending) -> None:
        """A new CI, or one that got a model, makes its asset; a changed one changes it."""
        if self._stays_alone(pending):
            return
        with self._mirror():
            if pending.operation == "delete":
                if pending.values.get("asset"):
                    self._write("alm_asset", pending.values["asset"], {"ci": ""}, pending.user)
            elif pending.values.get("asset"):
                self._update_asset(pending)
            elif pending.values.get("model_id", "") != pending.before.get("model_id", ""):
                self._plan_asset(pending)

    @contextmanager
    def _mirror(self) -> Iterator[None]:
        self._mirroring = True
        try:
            yield
        finally:
            self._mirroring = False

    # -- asset to CI -------------------------------------------------------------------------------------------

    def _ci_class(self, values: Mapping[str, str]) -> str:
        """From the model, else from the category; empty where neither names a class."""
        model = self._instance.read("cmdb_model", values.get("model", "")) or {}
        category = self._instance.read("cmdb_model_category", values.get("model_category", "")) or {}
        name = model.get("cmdb_ci_class") or category.get("cmdb_ci_class", "")
        return name if "cmdb_ci" in self._instance.dictionary.lineage(name) else ""

    def _makes_ci_with_ire(self, values: Mapping[str, str]) -> bool:
        set_to = self._instance.property("glide.asset.create_ci_with_ire")
        on = set_to == "true" if set_to else self._instance.switches.asset_ci_with_ire
        return on and "cmdb_ci_hardware" in self._instance.dictionary.lineage(self._ci_class(values))

    def _create_ci(self, pending: Pending) -> None:
        table = self._ci_class(pending.values)
        if not table:
            return
        model = self._instance.read("cmdb_model", pending.values.get("model", "")) or {}
        name = model.get("display_name") or model.get("name", "")
        values = self._sync.to_ci(_record(pending), pending.values) | {"asset": pending.sys_id, "name": name}
        if model.get("manufacturer"):
            values["manufacturer"] = model["manufacturer"]
        if self._makes_ci_with_ire(pending.values):
            values |= {
                "name": f"{pending.values.get('serial_number', '')} - {model.get('name', '')}",
                "discovery_source": "SNAssetManagement",
            }
        switches = replace(self._instance.switches, read_only_columns_protected=False)
        ci = self._instance.records.insert(table, values, pending.user, switches)
        self._write(pending.table, pending.sys_id, {"ci": ci.sys_id}, pending.user)

    def _update_ci(self, pending: Pending) -> None:
        ci = self._instance.records.read("cmdb_ci", pending.values.get("ci", ""))
        if ci is None:
            return
        changed = {e: pending.values.get(e, "") for e in {*pending.values, *pending.before} if _differs(pending, e)}
        values = self._sync.to_ci(_record(pending), changed)
        if values:
            self._write("cmdb_ci", ci.sys_id, values, pending.user)

    # -- CI to asset -------------------------------------------------------------------------------------------

    def _plan_asset(self, pending: Pending) -> None:
        """Make the asset now, or leave it to the job where the instance does that (11.2: up to 15 minutes later)."""
        record = _record(pending)
        if self._asset_class(record) is None:
            return
        set_to = self._instance.property("glide.create_alm_asset.async")
        if not (set_to == "true" if set_to else self._instance.switches.assets_created_async):
            self._create_asset(record, pending.user)
            return
        self._instance.load(QUEUE, [{"ci": pending.sys_id, "state": "pending"}])
        self._due = self._due or self._next_run()

    def _next_run(self) -> datetime:
        minutes = max(1, self._instance.switches.asset_job_minutes)
        now = self._instance.clock.now().replace(second=0, microsecond=0)
        return now + timedelta(minutes=minutes - now.minute % minutes)

    def _asset_class(self, ci: Record) -> tuple[str, Row] | None:
        """The class of the asset that a CI should have, and its category; None where it should have none."""
        model = self._instance.read("cmdb_model", ci.values.get("model_id", ""))
        if model is None or model.get("asset_tracking_strategy") == "do_not_track":
            return None
        category = self._category(model, ci.table)
        if category is None:
            return None
        consumable = model.get("asset_tracking_strategy") == "track_as_consumable"
        name = "alm_consumable" if consumable else category.get("asset_class", "")
        return (name, category) if "alm_asset" in self._instance.dictionary.lineage(name) else None

    def _category(self, model: Mapping[str, str], table: str) -> Row | None:
        """The model's category that names the CI's class, or the nearest ancestor of it."""
        ids = [part for part in model.get("cmdb_model_category", "").split(",") if part]
        rows = [row for sys_id in ids if (row := self._instance.read("cmdb_model_category", sys_id))]
        lineage = self._instance.dictionary.lineage(table)
        fitting = [row for row in rows if row.get("cmdb_ci_class") in lineage]
        return min(fitting, key=lambda row: lineage.index(row["cmdb_ci_class"]), default=None)

    def _create_asset(self, ci: Record, user: User) -> None:
        found = self._asset_class(ci)
        if found is None:
            return
        name, category = found
        values = self._sync.to_asset(ci, ci.values) | {"ci": ci.sys_id, "model_category": category["sys_id"]}
        switches = replace(self._instance.switches, read_only_columns_protected=False)
        asset = self._instance.records.insert(name, values, user, switches)
        self._write("cmdb_ci", ci.sys_id, {"asset": asset.sys_id}, user)

    def _update_asset(self, pending: Pending) -> None:
        asset = self._instance.records.read("alm_asset", pending.values["asset"])
        if asset is None:
            return
        changed = {e: pending.values.get(e, "") for e in {*pending.values, *pending.before} if _differs(pending, e)}
        values = self._sync.to_asset(_record(pending), changed)
        if values:
            self._write("alm_asset", asset.sys_id, values, pending.user)

    def _write(self, table: str, sys_id: str, values: Mapping[str, str], user: User) -> None:
        record = self._instance.records.read(table, sys_id)
        if record is not None:
            switches = replace(self._instance.switches, read_only_columns_protected=False)
            self._instance.records.update(record, values, user, switches)

    # -- the delayed job ---------------------------------------------------------------------------------------

    def run_due(self) -> None:
        """Run the job if its time has come; called with every request, so that the clock may be set at will."""
        if self._due is not None and self._instance.clock.now() >= self._due:
            self.run_job()

    def run_job(self) -> int:
        """Make the assets that wait in the queue now; returns how many. Failures stay in the queue as such."""
        with self._instance.storage.lock:
            self._due = None
            started = self._instance.clock.stamp()
            waiting = select(self._instance, QUEUE, parse("state=pending^ORDERBYsys_created_on"))
            made = sum(self._serve(row) for row in waiting)
            if waiting:
                log = {"job_name": JOB, "state": "complete", "status_message": f"{made} assets created"}
                log |= {"started": started, "completed": self._instance.clock.stamp()}
                self._instance.load("asset_job_log", [log])
        return made

    def _serve(self, row: Row) -> bool:
        """Make the asset that one row of the queue asks for; whether one was made."""
        ci = self._instance.records.read("cmdb_ci", row["ci"])
        wanted = ci is not None and not ci.values.get("asset")
        try:
            if ci is not None and wanted:
                with self._mirror():
                    self._create_asset(ci, self._instance.acting("system"))
        except Refused as refused:
            self._instance.storage.update(
                QUEUE, row["sys_id"], {"state": "error", "error": refused.detail or refused.message}
            )
            return False
        self._instance.storage.delete(QUEUE, row["sys_id"])
        return wanted


def _differs(pending: Pending, element: str) -> bool:
    return pending.values.get(element, "") != pending.before.get(element, "")


def _record(pending: Pending) -> Record:
    return Record(pending.table, pending.sys_id, dict(pending.values))
