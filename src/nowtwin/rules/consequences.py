"""What the platform's built-in rules do to other records when one is written: assets and CIs, model names, what goes
with a deleted record (its attachments, a CI's relations).

They stand beside the business rules (`scripting`), which are records; these are part of the platform.
"""

import re

from nowtwin.errors import failed
from nowtwin.query.parse import parse
from nowtwin.records.ground import Ground
from nowtwin.records.selecting import equalities, select
from nowtwin.records.write_rules import Manner, Pending
from nowtwin.rules import reshaping
from nowtwin.rules.assets import Assets
from nowtwin.rules.attachments import CONTENT, drop_content
from nowtwin.rules.autoclose import Autoclose
from nowtwin.rules.cascades import Cascades
from nowtwin.schema import metadata

_QUIET = Manner(workflow=False)
_FORCED = Manner(force=True)
_STAMPS = ("sys_created_on", "sys_updated_on", "sys_created_by", "sys_updated_by")
_RELATED = frozenset({"sys_attachment", "cmdb_rel_ci"})
_ROOTS = frozenset(
    {"alm_asset", "cmdb", "cmdb_model", "cmdb_model_category"}
    | {"sys_db_object", "sys_db_view", "sys_dictionary", "sys_user"},
)


class Consequences:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance
        self.assets = Assets(instance)
        self.cascades = Cascades(instance)
        self.autoclose = Autoclose(instance)
        instance.storage.index("sys_attachment", ("table_sys_id",))
        instance.storage.index(CONTENT, ("sys_attachment",))

    def run_due(self) -> None:
        """Jobs of the platform whose time has come; called with every request, so that the clock may be set at will."""
        self.assets.run_due()
        self.autoclose.run_due()

    def run_jobs(self) -> None:
        """Those jobs now, due or not."""
        self.assets.run_job()
        self.autoclose.run_job()

    def watches(self, pending: Pending) -> bool:
        """Whether any rule here looks at this write."""
        if pending.table in _RELATED and self._instance.switches.related_rows_touch_parents:
            return True
        return pending.operation == "delete" or self._instance.dictionary.root(pending.table) in _ROOTS

    def before(self, pending: Pending) -> None:
        """Complete the record on its way. Raises Refused 403 where a rule forbids the write."""
        if pending.operation == "delete":
            self.cascades.require(pending.table, pending.sys_id)
            self._keep_extended(pending)
            return
        root = self._instance.dictionary.root(pending.table)
        if root == "alm_asset":
            self.assets.complete_asset(pending)
        elif root == "cmdb_model":
            self.assets.name_model(pending)
        elif root == "cmdb_model_category":
            self.assets.check_category(pending)
        elif root == "sys_user":
            _name_user(pending)
        elif root == "sys_db_view":
            self._name_view(pending)

    def _name_view(self, pending: Pending) -> None:
        """A view is named like a table, and like no table that there is (D: t_CreateADatabaseView.md; SDK, DatabaseView)."""
        name = re.sub(r"[^a-z0-9_]", "_", pending.values.get("name", "").strip().lower())
        pending.values["name"] = name
        known = self._instance.dictionary.tables.get(name)
        if name != pending.before.get("name", "") and known is not None and known.view is None:
            raise failed(f"Table {name} already exists")

    def after(self, pending: Pending) -> None:
        """The write is in the database; `pending.values` are the stored columns."""
        lineage = self._instance.dictionary.lineage(pending.table)
        if "alm_asset" in lineage:
            self.assets.follow_asset(pending)
        elif "cmdb_ci" in lineage:
            self.assets.follow_ci(pending)
        if pending.table == "sys_dictionary":
            self._follow_column(pending)
        if pending.table == "sys_db_object" and pending.operation == "insert":
            self._describe_table(pending)
        if pending.table in _RELATED and self._instance.switches.related_rows_touch_parents:
            self._touch_parents(pending)
        if pending.operation == "delete":
            if pending.table == "sys_db_object":
                self._drop_table(pending.before.get("name", ""))
            self._drop_attachments(pending)
            if "cmdb_ci" in lineage:
                self._drop_relations(pending)
            self.cascades.follow(pending.table, pending.sys_id)

    def _follow_column(self, pending: Pending) -> None:
        """Data goes with a deleted column, and takes the form of a new type."""
        table, element = pending.values.get("name", ""), pending.values.get("element", "")
        now, before = pending.values.get("internal_type", ""), pending.before.get("internal_type", "")
        if not element:
            return
        if pending.operation == "delete":
            reshaping.empty_column(self._instance, table, element)
        elif pending.operation == "update" and now != before:
            reshaping.retype_column(self._instance, table, element, now)

    def _describe_table(self, pending: Pending) -> None:
        """A new table has its rows in the dictionary: its own, and on top of a class tree those of the system columns."""
        name = pending.values.get("name", "")
        if name not in self._instance.dictionary.tables:
            return
        made = {e: pending.values[e] for e in _STAMPS if e in pending.values}
        for table, rows in metadata.rows_about(self._instance.dictionary, name):
            known = select(self._instance, table, equalities({"name": name}), ("element",))
            said = {row["element"] for row in known}
            self._instance.load(table, [row | made for row in rows if row.get("element", "") not in said])

    def _keep_extended(self, pending: Pending) -> None:
        """Raises Refused 403 for a table that others extend."""
        name = pending.before.get("name", "")
        if pending.table == "sys_db_object" and self._instance.dictionary.children(name):
            raise failed(f"Table {name} is extended by other tables")

    def _drop_table(self, table: str) -> None:
        """Records go with their table."""
        dictionary = self._instance.dictionary
        if table in dictionary.tables:
            reshaping.drop_rows(self._instance, table)
            dictionary.drop_table(table)

    def _drop_attachments(self, pending: Pending) -> None:
        """Content goes with its attachment, attachments go with their record."""
        storage = self._instance.storage
        if pending.table == "sys_attachment":
            drop_content(self._instance, pending.sys_id)
            return
        sql = "SELECT sys_id FROM sys_attachment WHERE table_sys_id = ?"
        for (sys_id,) in storage.rows(sql, (pending.sys_id,)):
            record = self._instance.records.read("sys_attachment", str(sys_id))
            if record is not None:
                self._instance.records.delete(record, pending.user)

    def _touch_parents(self, pending: Pending) -> None:
        """The record of an attachment, the CIs of a relation: updated without a change."""
        instance, values = self._instance, pending.values
        if pending.table == "sys_attachment":
            parents = [(values.get("table_name", ""), values.get("table_sys_id", ""))]
        else:
            parents = [("cmdb_ci", values.get(end, "")) for end in ("parent", "child")]
        for table, sys_id in parents:
            record = instance.records.read(table, sys_id) if table in instance.dictionary.tables else None
            if record is not None:
                instance.records.update(record, {}, pending.user, instance.switches, manner=_FORCED)

    def _drop_relations(self, pending: Pending) -> None:
        """Relations go with either of their CIs, without an entry in sys_audit_delete (11.2, 9.1)."""
        query = parse(f"parent={pending.sys_id}^ORchild={pending.sys_id}")
        for row in select(self._instance, "cmdb_rel_ci", query, ("sys_id",)):
            record = self._instance.records.read("cmdb_rel_ci", row["sys_id"])
            if record is not None:
                self._instance.records.delete(record, pending.user, manner=_QUIET)


def _name_user(pending: Pending) -> None:
    """`name` is first and last name, unless the write names the user otherwise."""
    values, before = pending.values, pending.before
    parts = [values.get(element, "") for element in ("first_name", "last_name")]
    renamed = any(values.get(e, "") != before.get(e, "") for e in ("first_name", "last_name"))
    if renamed and values.get("name", "") == before.get("name", ""):
        values["name"] = " ".join(filter(None, parts))
