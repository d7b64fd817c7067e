"""One emulated instance: its dictionary, rows, users, clock, faults and journals behind one lock.

Everything the HTTP side and the tests do goes through here; no other module keeps state that a reset must clear.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Self

from nowtwin import errors
from nowtwin.access.acl import RuleBook
from nowtwin.access.hiding import Access
from nowtwin.access.shipped import access_rows, assumed_ids
from nowtwin.accounts.jwt_bearer import Verifier
from nowtwin.accounts.registry import Registry
from nowtwin.accounts.roles import Roles
from nowtwin.accounts.users import Accounts, User, zone_of
from nowtwin.accounts.vault import MARK, Vault
from nowtwin.apps.install import Installed, install, uninstall
from nowtwin.behaviour.faults import Faults
from nowtwin.behaviour.nodes import Nodes
from nowtwin.behaviour.switches import Switches
from nowtwin.clock import Clock, wall_seconds
from nowtwin.limits.admission import Admission
from nowtwin.limits.calls import Calls
from nowtwin.limits.inbound_policies import InboundPolicies
from nowtwin.limits.rate_limits import RateLimits
from nowtwin.query.dates import Moment
from nowtwin.query.parse import parse
from nowtwin.query.view_book import ViewBook
from nowtwin.reading.pages import Reader, Wanted
from nowtwin.records.audit import NO_DELETE_AUDIT, DeletionRules, names_in
from nowtwin.records.pipeline import Record, Records, Written, texts_of
from nowtwin.records.raw_rows import RawRows
from nowtwin.rules.consequences import Consequences
from nowtwin.rules.data_policies import DataPolicies
from nowtwin.rules.shipped_policies import policy_rows
from nowtwin.rules.state_models import StateModels
from nowtwin.rules.stock import stock_rows
from nowtwin.rules.stock_views import view_rows
from nowtwin.schema import metadata
from nowtwin.schema.document import refuse_malformed
from nowtwin.schema.shipped import shipped_dictionary
from nowtwin.scripting.scripted_apis import ScriptedApis
from nowtwin.scripting.scripts import Scripts
from nowtwin.snapshots import Snapshots
from nowtwin.storage.folder import Folder
from nowtwin.storage.rows import Storage, quote
from nowtwin.values import number_of

ADMIN_ID = "6816f79cc0a8016401c5a33be04be441"
"""The sys_id of System Administrator on every stock instance."""
OAUTH_CLIENT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
OAUTH_SECRET = "nowtwin-secret"  # noqa: S105 - the documented client of an emulator that listens on loopback
_KEPT_WRITES = 1_000_000
_VIEW_RECORDS = 10_000
_PROPERTIES = {
    "instance_name": "nowtwin",
    "glide.war": "glide-australia-02-11-2026__patch3-05-25-2026_06-10-2026_1842.zip",
    "glide.buildname": "Australia",
    "glide.buildtag": "glide-australia-02-11-2026__patch3-05-25-2026",
    "glide.buildtag.last": "glide-australia-02-11-2026__patch3-05-25-2026",
    "glide.builddate": "06-10-2026_1842",
    "glide.sys.date_format": "yyyy-MM-dd",
    "glide.sys.time_format": "HH:mm:ss",
    "glide.sys.default.tz": "UTC",
    "glide.sm.default_mode": "deny",
    "glide.invalid_query.returns_no_rows": "false",
    "glide.rest.choice.allow_non_existing_value": "false",
}


@dataclass(frozen=True, slots=True)
class WriteEntry:
    """A write with the wall time at which it was stored, for measuring how late a replica is."""

    table: str
    sys_id: str
    sys_mod_count: int
    operation: str
    at: float


class Instance:
    """`seed` fixes sys_ids, tokens and fault rolls; `directory` is where the rows are while the instance lives (`Folder`),
    instead of a temporary folder. Raises OSError for a directory that cannot be used.
    """

    def __init__(self, *, seed: int = 0, clock: Clock | None = None, directory: Path | None = None) -> None:
        self.seed = seed
        self.clock = clock or Clock()
        self._folder = Folder(directory)
        self.storage = Storage(self._folder.rows)
        self.url = "http://127.0.0.1"
        self._admin_password = "admin"  # noqa: S105 - the documented default of an emulator on loopback
        self.scripts = Scripts(self)
        self.admission = Admission()
        self._start()
        self.snapshots = Snapshots(self, self._folder.path)

    def _start(self) -> None:
        """The state of a fresh instance: shipped schema, the administrator, properties."""
        self.random = Random(self.seed)  # noqa: S311 - repeatable ids are the point
        self.switches = Switches()
        self.dictionary = shipped_dictionary()
        self._views = ViewBook(self.dictionary, self.storage)
        self.accounts = Accounts(Random(self.seed + 1))  # noqa: S311 - an emulator's tokens may be foreseen
        self.roles = Roles(self.storage, self._ignored_access)
        self.access = Access(
            self.dictionary,
            RuleBook(self.dictionary, self.storage, self._ignored_access),
            enforced=lambda: self.switches.access_control,
            default_deny=lambda: self.property("glide.sm.default_mode") != "allow",
            scripts_governed=lambda: self.switches.script_columns_governed,
            views_need_rules=lambda: self.property("glide.security.expander.view.legacy") == "true",
        )
        self.vault = Vault(self.accounts, Random(self.seed + 2))  # noqa: S311 - as above
        self.registry = Registry(self.storage, self.vault)
        self.verifier = Verifier(self.storage, self.vault)
        self.scripted_apis = ScriptedApis(self.storage)
        self.inbound_policies = InboundPolicies(self.storage)
        self.rate_limits = RateLimits(self)
        self.nodes = Nodes()
        self.calls = Calls()
        self.faults = Faults(self.seed)
        self.reader = Reader(
            self.dictionary, self.storage, self.scripts.access.passing, self.scripts.calculations.texts
        )
        self.records = Records(self.dictionary, self.storage, self.clock, self.random, self._note)
        self.raw_rows = RawRows(self.dictionary, self.storage, self.clock, self.records.new_id)
        self.records.rules = self.scripts
        self.records.vault = self.vault
        self.records.switches = lambda: self.switches
        self.records.filing = self._deletion_rules
        self.records.checks = (StateModels(self), DataPolicies(self))
        self.consequences = Consequences(self)
        self.records.built_in = self.consequences
        self.writes: deque[WriteEntry] = deque(maxlen=_KEPT_WRITES)
        self.written = 0
        self._metadata_stale = True
        self._users: dict[str, tuple[tuple[int, ...], User | None]] = {}
        for root, column in (("sys_user", "user_name"), ("task", "number"), ("sys_properties", "name")):
            self.storage.index(root, (column,), collate="NOCASE")
        self.storage.index("sys_journal_field", ("element_id", "element"))
        self.storage.index("sys_dictionary", ("name", "element"))
        for column in ("name", "serial_number"):
            self.storage.index("cmdb", (column,), collate="NOCASE")
        self._load_base()

    def _load_base(self) -> None:
        properties = _PROPERTIES | {"instance_id": f"{Random(self.seed).getrandbits(128):032x}"}  # noqa: S311 - repeatable
        rows = [
            {"sys_id": metadata.row_id("sys_properties", name), "name": name, "value": value, "type": "string"}
            for name, value in properties.items()
        ]
        self.load("sys_properties", rows)
        for table, access_entries in access_rows().items():
            self.load(table, access_entries)
        for table, stock_entries in (*stock_rows(), *policy_rows(), *view_rows()):
            self.load(table, stock_entries)
        self.add_user(
            "admin",
            self._admin_password,
            roles=("admin",),
            sys_id=ADMIN_ID,
            first_name="System",
            last_name="Administrator",
        )
        self.add_oauth_client(OAUTH_CLIENT, OAUTH_SECRET, name="nowtwin default client")
        self._views.refresh(self.switches)

    def reset(self) -> None:
        """Back to a fresh instance; the clock and the URL stay."""
        with self.storage.lock:
            self.scripts.jobs.clear()
            self.storage.drop_all()
            self._start()

    def close(self) -> None:
        self.scripts.close()
        self.snapshots.close()
        self.storage.close()
        self._folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- schema ------------------------------------------------------------------------------------------------

    def load_schema(self, schema: Mapping[str, Any]) -> None:
        """Merge a schema document (the form of servicenow_schema*.json.gz); what is known already stays. Raises ValueError."""
        refuse_malformed(schema)
        with self.storage.lock:
            before = {root: self.dictionary.root(root) for root in self.storage.roots()}
            self.dictionary.merge(schema)
            for root in before:
                now = self.dictionary.root(root) if root in self.dictionary.tables else root
                if now != root:
                    self.storage.move(root, now)
            self.records.numbering.forget()
            self._metadata_stale = True

    def prepare(self, table: str) -> None:
        """Make sure that the table can be read. Raises Refused 400 for an unknown one."""
        self._views.refresh(self.switches)
        if table not in self.dictionary.tables:
            raise errors.invalid_table(table)
        if table in metadata.TABLES and self._metadata_stale:
            with self.storage.lock:
                self._metadata_stale = False
                for name, rows in metadata.rows(self.dictionary):
                    self.load(name, self._unclaimed(name, rows))

    def _unclaimed(self, table: str, rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """Metadata rows made from the dictionary, without those that stand there under a sys_id of their own."""
        keys, made = metadata.KEYS[table], {row["sys_id"] for row in rows}
        self.storage.ensure(table, keys)
        names = ", ".join(f"ifnull({quote(key)}, '')" for key in keys)
        stored = self.storage.rows(f"SELECT sys_id, {names} FROM {quote(table)}")  # noqa: S608 - quoted names
        claimed = {tuple(key) for sys_id, *key in stored if sys_id not in made}
        return [row for row in rows if tuple(row.get(key, "") for key in keys) not in claimed]

    def install_app(self, source: Path | bytes) -> Installed:
        """Install an application or update set: a folder, zip or file, or the bytes of one. Raises ValueError."""
        return install(self, source)

    def uninstall_app(self, application: str) -> int:
        """Take away an application by scope, name or sys_id; returns how many records. Raises ValueError."""
        return uninstall(self, application)

    # -- rows --------------------------------------------------------------------------------------------------

    def load(self, table: str, rows: Iterable[Mapping[str, str]]) -> int:
        """Store rows as they are, without rules, replacing known sys_ids; returns how many.

        Missing `sys_id`, `sys_class_name`, stamps and `sys_mod_count` are filled in. Raises ValueError on a column
        that the table does not have, and Refused on an unknown table.
        """
        loaded = self.raw_rows.load(table, rows)
        self.records.numbering.forget()
        return loaded

    def insert(self, table: str, values: Mapping[str, str], *, user: str = "admin") -> Record:
        """Insert with all rules. Raises Refused as the API would."""
        self.prepare(table)
        with self.storage.lock:
            return self.records.insert(table, values, self.acting(user), self.switches)

    def update(self, table: str, sys_id: str, values: Mapping[str, str], *, user: str = "admin") -> Record:
        """Update with all rules. Raises Refused 404 where there is no such record."""
        with self.storage.lock:
            return self.records.update(self.record(table, sys_id), values, self.acting(user), self.switches)

    def delete(self, table: str, sys_id: str, *, user: str = "admin") -> None:
        """Delete with all rules. Raises Refused 404 where there is no such record."""
        with self.storage.lock:
            self.records.delete(self.record(table, sys_id), self.acting(user))

    def record(self, table: str, sys_id: str) -> Record:
        self.prepare(table)
        record = self.records.read(table, sys_id)
        if record is None:
            raise errors.no_record()
        return record

    def read(self, table: str, sys_id: str) -> dict[str, str] | None:
        """The stored columns of a record as texts, empty ones left out; None where there is none."""
        self.prepare(table)
        record = self.records.read(table, sys_id)
        return None if record is None else dict(record.values)

    def count(self, table: str, query: str = "") -> int:
        """How many records of the table and its classes match the encoded query."""
        self.prepare(table)
        return self.reader.count(Wanted(table, parse(query), self.moment(self.acting("admin"))), self.switches)

    def export(self, table: str) -> Iterator[dict[str, str]]:
        """All stored rows of a table and its classes, in sys_id order, empty columns left out."""
        self.prepare(table)
        yield from self.raw_rows.export(table)

    def _note(self, written: Written) -> None:
        entry = WriteEntry(written.table, written.sys_id, written.sys_mod_count, written.operation, wall_seconds())
        self.writes.append(entry)
        self.written += 1

    def writes_after(self, number: int) -> list[WriteEntry]:
        """Journal entries from the `number`-th write of this instance on, as far as they are kept."""
        fresh = max(0, min(len(self.writes), self.written - number))
        return list(islice(self.writes, len(self.writes) - fresh, None))

    # -- users -------------------------------------------------------------------------------------------------

    def add_user(self, user_name: str, password: str, *, roles: Sequence[str] = (), **columns: str) -> str:
        """Create or replace a user who can sign in; other columns of sys_user (`time_zone`, `date_format`, ...) may be
        given. Returns the sys_id.
        """
        known = self.user(user_name)
        sys_id = columns.pop("sys_id", None) or (known.sys_id if known else metadata.row_id("sys_user", user_name))
        names = (columns.get("first_name", ""), columns.get("last_name", ""))
        name = columns.pop("name", "") or " ".join(filter(None, names)) or user_name
        row = {"sys_id": sys_id, "user_name": user_name, "name": name, "active": "true", **columns}
        self.load("sys_user", [row])
        self.accounts.set_password(user_name, password, frozenset(roles))
        return sys_id

    def _ignored_access(self) -> frozenset[str]:
        return frozenset() if self.switches.assumed_rights else assumed_ids()

    def set_admin_password(self, password: str) -> None:
        self._admin_password = password
        self.accounts.set_password("admin", password, frozenset({"admin"}))

    def add_oauth_client(
        self, client_id: str, client_secret: str, *, name: str = "", access_seconds: int = 1800, user_name: str = ""
    ) -> None:
        """Register an OAuth client as a row of oauth_entity; `user_name` is its application user (client credentials)."""
        sys_id = metadata.row_id("oauth_entity", client_id)
        user = self.user(user_name) if user_name else None
        row = {"sys_id": sys_id, "name": name or client_id, "client_id": client_id, "type": "client", "active": "true"}
        row |= {"access_token_lifespan": str(access_seconds), "refresh_token_lifespan": "8640000"}
        row |= {"user": user.sys_id if user else "", "client_secret": MARK}
        self.load("oauth_entity", [row])
        self.vault.put(sys_id, "client_secret", client_secret)

    def user(self, user_name: str) -> User | None:
        """The active user of that name, with the settings of the sys_user row."""
        version = (self.storage.versions.get("sys_user", 0), self.accounts.revision, *self.roles.version())
        known = self._users.get(user_name)
        if known and known[0] == version:
            return known[1]
        found = self._find_user(user_name)
        self._users[user_name] = (version, found)
        return found

    def _find_user(self, user_name: str) -> User | None:
        self.storage.ensure("sys_user", ("user_name",))
        rows = self.storage.rows('SELECT sys_id FROM "sys_user" WHERE user_name = ? COLLATE NOCASE', (user_name,))
        row = self.storage.get("sys_user", str(rows[0][0])) if rows else None
        if row is None or row.get("active", "true") == "false" or row.get("locked_out") == "true":
            return None
        texts = texts_of(row)
        return User(
            sys_id=texts["sys_id"],
            user_name=texts["user_name"],
            name=texts.get("name") or user_name,
            roles=self.roles.of(texts["sys_id"], self.accounts.roles(texts["user_name"])),
            zone=zone_of(texts.get("time_zone") or self.property("glide.sys.default.tz")),
            date_format=texts.get("date_format") or self.property("glide.sys.date_format") or "yyyy-MM-dd",
            language=texts.get("preferred_language") or "en",
            time_format=texts.get("time_format") or self.property("glide.sys.time_format") or "HH:mm:ss",
        )

    def acting(self, user_name: str) -> User:
        """A user in whose name something is written; one without a record (`system`) acts as itself."""
        found = self.user(user_name)
        return found or User(user_name, user_name, user_name, frozenset({"admin"}), zone_of("UTC"))

    def moment(self, user: User) -> Moment:
        return Moment(self.clock.now(), user.zone, user.sys_id, user.user_name)

    def view_limit(self, table: str) -> int | None:
        """How many rows one query over a database view gives; None for a table (servicenow-api.md 10)."""
        if self.dictionary.view(table) is None:
            return None
        most = number_of(self.property("glide.db.max_view_records"))
        return _VIEW_RECORDS if most is None or most < 0 else int(most)

    def _deletion_rules(self) -> DeletionRules:
        ignored = names_in(self.property("glide.db.audit.ignore.delete"))
        return DeletionRules(
            ignored or NO_DELETE_AUDIT,
            frozenset(names_in(self.property("glide.ui.audit_deleted_tables"))),
            unaudited_tables=self.switches.unaudited_deletes_filed,
            quiet=self.switches.quiet_deletes_filed,
            in_history=self.switches.deletes_in_history,
        )

    def property(self, name: str) -> str:
        """The value of a sys_properties row; empty where there is none."""
        self.storage.ensure("sys_properties", ("name", "value"))
        rows = self.storage.rows('SELECT value FROM "sys_properties" WHERE name = ? COLLATE NOCASE', (name,))
        return str(rows[0][0] or "") if rows else ""
