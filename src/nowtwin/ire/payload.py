"""What comes in: items with lookups and related items, relations, references between items (6.5)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from nowtwin.errors import Refused
from nowtwin.values import text_of


class SourceInfo(msgspec.Struct, frozen=True):
    source_name: str = ""
    source_native_key: str = ""
    source_feed: str = ""
    source_recency_timestamp: str = ""


class SubItem(msgspec.Struct, frozen=True):
    """A lookup or a related item."""

    class_name: str = msgspec.field(default="", name="className")
    values: dict[str, Any] = {}
    internal_id: str = ""
    sys_object_source_info: SourceInfo = SourceInfo()

    @property
    def texts(self) -> dict[str, str]:
        return {element: text_of(value) for element, value in self.values.items()}


class Item(SubItem, frozen=True):
    lookup: tuple[SubItem, ...] = ()
    related: tuple[SubItem, ...] = ()
    settings: dict[str, Any] = {}
    class_upgrade: Any = msgspec.field(default=None, name="classUpgrade")
    class_downgrade: Any = msgspec.field(default=None, name="classDowngrade")
    class_switch: Any = msgspec.field(default=None, name="classSwitch")

    def setting(self, name: str) -> bool:
        return text_of(self.settings.get(name)).lower() == "true"

    def class_flag(self, kind: str) -> bool | None:
        """`classUpgrade`, `classDowngrade`, `classSwitch`, beside the settings or among them; None: not there."""
        beside = {"Upgrade": self.class_upgrade, "Downgrade": self.class_downgrade, "Switch": self.class_switch}
        flag = self.settings.get(f"class{kind}") if beside[kind] is None else beside[kind]
        return None if flag is None else text_of(flag).lower() == "true"

    def joined(self, other: "Item") -> "Item":
        """The item, filled up with what another one of the same CI says besides."""
        lookup = (*self.lookup, *(sub for sub in other.lookup if sub not in self.lookup))
        related = (*self.related, *(sub for sub in other.related if sub not in self.related))
        return msgspec.structs.replace(self, values={**other.values, **self.values}, lookup=lookup, related=related)


class Relation(msgspec.Struct, frozen=True):
    """Between two items, by index or by `internal_id`."""

    type: str = ""
    parent: int | None = None
    child: int | None = None
    parent_id: str = ""
    child_id: str = ""
    sys_rel_source_info: SourceInfo = SourceInfo()


class ReferenceItem(msgspec.Struct, frozen=True):
    referenced: str = ""
    referenced_by: str = msgspec.field(default="", name="referencedBy")
    reference_field: str = msgspec.field(default="", name="referenceField")


class Payload(msgspec.Struct, frozen=True):
    items: tuple[Item, ...] = ()
    relations: tuple[Relation, ...] = ()
    reference_items: tuple[ReferenceItem, ...] = msgspec.field(default=(), name="referenceItems")

    def index_of(self, internal_id: str) -> int | None:
        """The top-level item with this internal id, or the one that holds the sub-item with it."""
        for index, item in enumerate(self.items):
            if internal_id and internal_id in {
                item.internal_id,
                *(s.internal_id for s in (*item.lookup, *item.related)),
            }:
                return index
        return None


def payload_of(body: bytes) -> Payload:
    """Raises Refused 400 for a body that is not such a payload."""
    try:
        return msgspec.json.decode(body or b"{}", type=Payload, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(
            400, "Exception while reading request", f"Error occurred during parsing input json payload: {error}"
        ) from error


def shown(item: Item, source: str) -> str:
    """An item as error messages quote it."""
    values: Mapping[str, str] = ({"discovery_source": source} if source else {}) | item.texts
    return msgspec.json.encode({"className": item.class_name, "values": values}).decode()
