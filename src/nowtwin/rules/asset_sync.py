"""What a change of an asset means for its CI and the other way round (servicenow-api.md 11.2, Asset-CI mappings).

Mappings are records: columns in alm_asset_ci_field_mapping (each with a condition for either side), states in
alm_asset_ci_state_mapping and, for hardware, alm_hardware_state_mapping (each row with its direction). Names of their
columns are those that public code uses. A state row without a substate counts for every substate that has no row of its
own (an assumption: the shipped rows do not name them all).
"""

from collections.abc import Mapping

from nowtwin.query.parse import parse
from nowtwin.records.ground import Ground
from nowtwin.records.matching import Subject, meets
from nowtwin.records.pipeline import Record
from nowtwin.records.selecting import Row, select

FIELDS = "alm_asset_ci_field_mapping"
STATES = "alm_asset_ci_state_mapping"
HARDWARE_STATES = "alm_hardware_state_mapping"
_CURRENCY = "USD"


class AssetSync:
    def __init__(self, instance: Ground) -> None:
        self._instance = instance

    def to_ci(self, asset: Record, changed: Mapping[str, str]) -> dict[str, str]:
        """Columns of the CI that follow from the changed columns of its asset; NULL clears one."""
        mapped = self._fields(asset, "asset_field", "configuration_item_field", "asset_mapping_condition")
        values = {mapped[element]: text or "NULL" for element, text in changed.items() if element in mapped}
        if "cost" in changed:
            code, _, amount = changed["cost"].rpartition(";")
            values |= {"cost": amount or "NULL", "cost_cc": code or _CURRENCY}
        if changed.get("install_status") or changed.get("substatus"):
            row = self._of_asset(STATES, asset.values)
            values |= _filled({"install_status": row.get("configuration_item_status", "")})
            row = self._of_asset(HARDWARE_STATES, asset.values)
            values |= _filled({"hardware_status": row.get("hardware_ci_status", "")})
            values |= _filled({"hardware_substatus": row.get("hardware_ci_substatus", "")})
        return values

    def to_asset(self, ci: Record, changed: Mapping[str, str]) -> dict[str, str]:
        """The same the other way; of hardware its hardware status counts, not its install status."""
        mapped = self._fields(ci, "configuration_item_field", "asset_field", "ci_mapping_condition")
        values = {mapped[element]: text or "NULL" for element, text in changed.items() if element in mapped}
        if "cmdb_ci_hardware" in self._instance.dictionary.lineage(ci.table):
            keys = {"hardware_status": "hardware_ci_status", "hardware_substatus": "hardware_ci_substatus"}
            row = self._of_ci(HARDWARE_STATES, keys, ci, changed)
        else:
            row = self._of_ci(STATES, {"install_status": "configuration_item_status"}, ci, changed)
        return values | _filled(
            {"install_status": row.get("asset_state", ""), "substatus": row.get("asset_substate", "")}
        )

    def _fields(self, source: Record, mine: str, other: str, condition: str) -> dict[str, str]:
        """Columns of the source to columns of the other side, as far as the source meets the mapping's condition."""
        rows = select(self._instance, FIELDS, parse("active=true"))
        return {row[mine]: row[other] for row in rows if self._meets(source, row[condition])}

    def _meets(self, source: Record, condition: str) -> bool:
        if not condition:
            return True
        instance = self._instance
        subject = Subject(source.table, source.values, None)
        moment = instance.moment(instance.acting("admin"))
        return meets(instance.dictionary, instance.storage, subject, parse(condition), instance.switches, moment)

    def _of_asset(self, table: str, asset: Mapping[str, str]) -> Row:
        """The row for the state of an asset: that of its substate before one for all."""
        state, substate = asset.get("install_status", ""), asset.get("substatus", "")
        query = parse(f"active=true^asset_state={state}^synch_directionINboth,asset_to_ci")
        rows = [row for row in select(self._instance, table, query) if row["asset_substate"] in {"", substate}]
        return min(rows, key=lambda row: (row["asset_substate"] != substate, row["synch_direction"]), default={})

    def _of_ci(self, table: str, keys: Mapping[str, str], ci: Record, changed: Mapping[str, str]) -> Row:
        """The row for the state of a CI, where that changed."""
        if not any(changed.get(element) for element in keys):
            return {}
        conditions = [f"{column}={ci.values.get(element, '')}" for element, column in keys.items()]
        query = parse("^".join(["active=true", "synch_directionINboth,ci_to_asset", *conditions]))
        rows = select(self._instance, table, query)
        return max(rows, key=lambda row: (row["synch_direction"], not row["asset_substate"]), default={})


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {element: text for element, text in values.items() if text}
