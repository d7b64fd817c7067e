"""The triggers that make a replica table writable, generated for the columns of one table.

`settle` (before each row) lets label and stored value agree. `collect` (after each statement) notes what changed, and
only that: a whole row of 130 columns as JSON costs four times as much (traps, finding 17). None of them fires for the
product's own role, under which the replica's loader and the hand-over itself write: no setting that a client could
forge decides it (finding 2). `receive` and `bury` put ServiceNow's answer into the table and the change feed.

Names of tables and columns come from the instance's dictionary; every one goes through `sql.Identifier` or `Literal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from nowbridge.store.database import Connection
from nowbridge.store.ddl import Relation
from nowbridge.store.rows.changed import joined, pair

PATH = sql.SQL("SET search_path = pg_catalog, nowbridge, pg_temp")
WIRE = sql.SQL("SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET intervalstyle = 'iso_8601'")
NEW_ID = sql.SQL("replace(gen_random_uuid()::text, '-', '')")
GROUP = 7  # labelled columns that are asked about together
# Joins whole rows, thousands of them: on disk, or sorted, that is half the time.
ROOM = sql.SQL("SET work_mem = '64MB' SET enable_mergejoin = off")


@dataclass(frozen=True, slots=True)
class WriteColumn:
    """One column as SQL writes see it. `name` holds the stored value, `shown` its label where it has one: a choice
    (`label_table`.`label_column`, depending on the replica column `dependent`), a reference, or a list of references
    to records of `label_table`.
    """

    name: str
    source: str
    journal: bool = False
    shown: str | None = None
    kind: Literal["plain", "choice", "reference", "list"] = "plain"
    label_table: str = ""
    label_column: str = ""
    dependent: str | None = None
    read_only: bool = False
    mandatory: bool = False
    max_length: int | None = None
    closed: bool = False  # not loaded now: nobody could see what became of a value


@dataclass(frozen=True, slots=True)
class WriteTable:
    """A replica table and those of its hierarchy (itself left out, base class first), whose rows are the same records."""

    id: int
    connection_id: int
    relation: Relation
    columns: tuple[WriteColumn, ...]
    relatives: tuple[Relation, ...] = ()
    layout_epoch: int = 1

    @property
    def loaded(self) -> tuple[str, ...]:
        """Every column that an answer of ServiceNow fills."""
        shown = [column.shown for column in self.columns if column.shown is not None]
        return (*(column.name for column in self.columns if not column.journal and not column.closed), *shown)


async def make(connection: Connection, table: WriteTable) -> None:
    """Make or renew the table's functions and triggers, and note its columns. Needs the table's lock for a moment:
    callers set a lock_timeout (traps, finding 20).
    """
    for statement in (_settle(table), _collect(table), _receive(table), _bury(table)):
        await connection.execute(statement)
    for kind in ("settle", "collect", "receive", "bury"):
        await connection.execute(
            sql.SQL("REVOKE ALL ON FUNCTION {}{} FROM PUBLIC").format(
                _name(kind, table), sql.SQL({"receive": "(jsonb, jsonb)", "bury": "(jsonb)"}.get(kind, "()"))
            )
        )
    for statement in _triggers(table, connection.info.user):  # our own role: the one that no trigger fires for
        await connection.execute(statement)
    await _default_key(connection, table)
    await connection.execute(
        "INSERT INTO nowbridge.write_table (table_id, layout_epoch) VALUES (%s, %s)"
        " ON CONFLICT (table_id) DO UPDATE SET layout_epoch = excluded.layout_epoch",
        (table.id, table.layout_epoch),
    )
    await connection.execute("DELETE FROM nowbridge.write_column WHERE table_id = %s", (table.id,))
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO nowbridge.write_column"
            " (table_id, name, source, shown, journal, reference, read_only, mandatory, max_length, closed)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    table.id,
                    column.name,
                    column.source,
                    column.shown,
                    column.journal,
                    column.label_table if column.kind in ("reference", "list") else None,
                    column.read_only,
                    column.mandatory,
                    column.max_length,
                    column.closed,
                )
                for column in table.columns
            ],
        )


async def _default_key(connection: Connection, table: WriteTable) -> None:
    """The catalogue says that new rows get a sys_id, so that an ORM that reflects the table does not ask for one."""
    cursor = await connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'sys_id' AND NOT atthasdef",
        (table.relation.identifier.as_string(),),
    )
    if await cursor.fetchone() is not None:
        await connection.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN sys_id SET DEFAULT {}").format(table.relation.identifier, NEW_ID)
        )


def _name(kind: str, table: WriteTable) -> sql.Identifier:
    return sql.Identifier("nowbridge", f"{kind}_{table.id}")


def _function(name: sql.Identifier, head: str, settings: Sequence[sql.SQL], body: sql.Composable) -> sql.Composed:
    """The body goes as a literal, so that no name of a column can end it."""
    return sql.SQL("CREATE OR REPLACE FUNCTION {}{} LANGUAGE plpgsql SECURITY DEFINER {} AS {}").format(
        name, sql.SQL(head), sql.SQL(" ").join(settings), sql.Literal(body.as_string())
    )


def _triggers(table: WriteTable, owner: str) -> list[sql.Composed]:
    on, others = table.relation.identifier, sql.SQL("current_user <> {}").format(sql.Literal(owner))
    collect, settle = _name("collect", table), _name("settle", table)
    made = [
        sql.SQL(
            "CREATE OR REPLACE TRIGGER nowbridge_{kind} AFTER {event} ON {on} REFERENCING {seen}"
            " FOR EACH STATEMENT WHEN ({others}) EXECUTE FUNCTION {collect}()"
        ).format(
            kind=sql.SQL(event.lower()),
            event=sql.SQL(event),
            seen=sql.SQL(seen),
            on=on,
            others=others,
            collect=collect,
        )
        for event, seen in (
            ("INSERT", "NEW TABLE AS n"),
            ("UPDATE", "OLD TABLE AS o NEW TABLE AS n"),
            ("DELETE", "OLD TABLE AS o"),
        )
    ]
    pairs = [name for column in table.columns if column.shown for name in (column.shown, column.name)]
    made.append(
        sql.SQL(
            "CREATE OR REPLACE TRIGGER nowbridge_settle_new BEFORE INSERT ON {on}"
            " FOR EACH ROW WHEN ({others}) EXECUTE FUNCTION {settle}()"
        ).format(on=on, others=others, settle=settle)
    )
    if pairs:
        # By the columns that the statement names: a condition on 80 columns is read anew at every statement, half a
        # millisecond, and costs what the function's own question does.
        made.append(
            sql.SQL(
                "CREATE OR REPLACE TRIGGER nowbridge_settle BEFORE UPDATE OF {of} ON {on}"
                " FOR EACH ROW WHEN ({others}) EXECUTE FUNCTION {settle}()"
            ).format(of=sql.SQL(", ").join(map(sql.Identifier, pairs)), on=on, others=others, settle=settle)
        )
    made.append(
        sql.SQL(
            "CREATE OR REPLACE TRIGGER nowbridge_truncate BEFORE TRUNCATE ON {on}"
            " FOR EACH STATEMENT WHEN ({others}) EXECUTE FUNCTION nowbridge.refuse_truncate()"
        ).format(on=on, others=others)
    )
    return made


def _settle(table: WriteTable) -> sql.Composed:
    """Columns that others depend on come first, so that a dependent choice sees its parent's new value."""
    parents = {column.dependent for column in table.columns}
    labelled = sorted((c for c in table.columns if c.shown), key=lambda c: c.name not in parents)
    groups = [_settle_group(table, labelled[first : first + GROUP]) for first in range(0, len(labelled), GROUP)]
    body = sql.SQL(
        "DECLARE s record; BEGIN"
        " IF TG_OP = 'INSERT' THEN"
        "   NEW.sys_id := coalesce(nullif(NEW.sys_id, ''), {new_id});"  # '' is what Django gives for a key that is not set
        " END IF;"
        " {}"
        " RETURN NEW; END"
    ).format(sql.SQL(" ").join(groups), new_id=NEW_ID)
    return _function(_name("settle", table), "() RETURNS trigger", [PATH], body)


def _settle_group(table: WriteTable, columns: Sequence[WriteColumn]) -> sql.Composed:
    """Columns behind one common question: each costs a microsecond, for every row."""
    names = [name for column in columns for name in (column.shown or "", column.name)]
    return sql.SQL("IF ROW({}) IS DISTINCT FROM ROW({}) THEN {} END IF;").format(
        *(
            sql.SQL(", ").join(sql.SQL(f"{side}.{{}}").format(sql.Identifier(n)) for n in names)
            for side in ("NEW", "OLD")
        ),
        sql.SQL(" ").join([_settle_column(table, column) for column in columns]),
    )


def _settle_column(table: WriteTable, column: WriteColumn) -> sql.Composed:
    cast = "text[]" if column.kind == "list" else "text"
    shown, stored = sql.Identifier(column.shown or ""), sql.Identifier(column.name)
    label = sql.Literal(column.shown)
    if column.kind == "choice":
        dependent = (
            sql.SQL("NEW.{}::text").format(sql.Identifier(column.dependent)) if column.dependent else sql.SQL("NULL")
        )
        call = sql.SQL("settle_choice({}, {}, {}, {}, {}").format(
            table.connection_id, column.label_table, column.label_column, dependent, label
        )
    else:
        call = sql.SQL("settle_{}({}, {}, {}").format(
            sql.SQL(column.kind), table.connection_id, column.label_table, label
        )
    return sql.SQL(
        "IF NEW.{shown} IS DISTINCT FROM OLD.{shown} OR NEW.{stored} IS DISTINCT FROM OLD.{stored} THEN"
        "   s := nowbridge.{call}, NEW.{shown}, OLD.{shown}, NEW.{stored}::{cast}, OLD.{stored}::{cast});"
        "   NEW.{shown} := s.p_shown; NEW.{stored} := s.p_stored;"
        " END IF;"
    ).format(shown=shown, stored=stored, call=call, cast=sql.SQL(cast))


def _collect(table: WriteTable) -> sql.Composed:
    names = [name for c in table.columns for name in (c.name, c.shown) if name is not None]
    body = sql.SQL(
        "DECLARE noted integer; BEGIN"
        " IF TG_OP = 'UPDATE' THEN"
        "   {lock_new}"
        "   INSERT INTO nowbridge.pending (table_id, sys_id, operation, changes)"
        "   SELECT {id}, sys_id, 'update', ('{{' || substr(said, 2) || '}}')::jsonb FROM"
        "     (SELECT o.sys_id, CASE WHEN n.sys_id IS NULL THEN nowbridge.changed_key() ELSE {changed} END AS said"
        "      FROM o LEFT JOIN n USING (sys_id) OFFSET 0) AS d"  # a fence: else it is worked out twice for every row
        "     WHERE said <> '' ORDER BY sys_id;"
        " ELSIF TG_OP = 'INSERT' THEN"
        "   INSERT INTO nowbridge.pending (table_id, sys_id, operation, changes)"
        "   SELECT {id}, n.sys_id, 'insert', ('{{' || substr({filled}, 2) || '}}')::jsonb FROM n;"
        " ELSE"
        "   {lock_old}"
        "   INSERT INTO nowbridge.pending (table_id, sys_id, operation, changes)"
        "   SELECT {id}, o.sys_id, 'delete', ('{{' || substr({emptied}, 2) || '}}')::jsonb FROM o ORDER BY o.sys_id;"
        " END IF;"
        " GET DIAGNOSTICS noted = ROW_COUNT;"
        " IF noted > 0 THEN PERFORM nowbridge.open_ticket(); END IF;"
        " RETURN NULL; END"
    ).format(
        id=table.id,
        lock_new=_lock_relatives(table, "n"),
        lock_old=_lock_relatives(table, "o"),
        changed=joined([pair(n, "o.{0}", "n.{0}", "o.{0} IS DISTINCT FROM n.{0}") for n in names]),
        filled=joined([pair(n, None, "n.{0}", "n.{0} IS NOT NULL") for n in names]),
        emptied=joined([pair(n, "o.{0}", None, "o.{0} IS NOT NULL") for n in names]),
    )
    return _function(_name("collect", table), "() RETURNS trigger", [PATH, WIRE, ROOM], body)


def _lock_relatives(table: WriteTable, seen: str) -> sql.Composable:
    """The same records in the other tables of the hierarchy: ServiceNow's answer goes into all. Those that another client
    holds are passed by: it may wait for ours (`patch_beside` leaves them to the replication).
    """
    return sql.SQL(" ").join(
        [
            sql.SQL(
                "PERFORM FROM {} WHERE sys_id IN (SELECT sys_id FROM {}) ORDER BY sys_id FOR UPDATE SKIP LOCKED;"
            ).format(relation.identifier, sql.SQL(seen))
            for relation in table.relatives
        ]
    )


def _receive(table: WriteTable) -> sql.Composed:
    """`rows` are records as ServiceNow has them now, {replica column: text}. `said` tells for each sys_id what the
    writer knows to be changed, [before, after] by column: what the client wrote is in the table already.
    """
    names = table.loaded
    journals = [column.name for column in table.columns if column.journal]
    assigned = [sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names if name != "sys_id"]
    assigned += [sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in journals]
    body = sql.SQL(
        "BEGIN"
        " WITH n AS MATERIALIZED (SELECT * FROM jsonb_populate_recordset(NULL::{table}, rows)),"
        " o AS MATERIALIZED (SELECT t.* FROM {table} t JOIN n USING (sys_id)),"
        " written AS (INSERT INTO {table} AS t ({columns}) SELECT {columns} FROM n"
        "   WHERE (SELECT count(*) FROM o) IS NOT NULL"
        "   ON CONFLICT (sys_id) DO UPDATE SET {assigned} RETURNING t.sys_id)"
        " INSERT INTO public._sync_cdc"
        "   (schema_name, table_name, sys_id, operation, changes, source, version, changed_at, applied_at)"
        " SELECT {schema}, {label}, sys_id, coalesce(said->sys_id->>'operation', 'update'),"
        "   nowbridge.joined_changes(coalesce(said->sys_id->'changes', '{{}}'), ('{{' || substr({changed}, 2) || '}}')::jsonb),"
        "   'sql', {version}, {moment}, clock_timestamp()"
        " FROM written JOIN n USING (sys_id) LEFT JOIN o USING (sys_id) ORDER BY sys_id;"
        " END"
    ).format(
        table=table.relation.identifier,
        columns=sql.SQL(", ").join(map(sql.Identifier, names)),
        assigned=sql.SQL(", ").join(assigned),
        schema=table.relation.schema,
        label=table.relation.name,
        changed=joined(
            [pair(n, "o.{0}", "n.{0}", "o.sys_id IS NOT NULL AND o.{0} IS DISTINCT FROM n.{0}") for n in names]
        ),
        version=sql.SQL("n.sys_mod_count" if "sys_mod_count" in names else "NULL"),
        moment=sql.SQL("n.sys_updated_on" if "sys_updated_on" in names else "NULL"),
    )
    return _function(_name("receive", table), "(rows jsonb, said jsonb) RETURNS void", [PATH, WIRE], body)


def _bury(table: WriteTable) -> sql.Composed:
    """`gone` is [{sys_id, at, record}]: deleted records with the instance's time of the deletion, and their last state
    where the client's own DELETE has taken the row away already.
    """
    body = sql.SQL(
        "BEGIN"
        " WITH g AS (SELECT * FROM jsonb_to_recordset(gone) AS g(sys_id text, at timestamptz, record jsonb)),"
        " taken AS (DELETE FROM {table} t USING g WHERE t.sys_id = g.sys_id RETURNING t.sys_id, to_jsonb(t) AS record),"
        " last AS (SELECT g.sys_id, g.at, jsonb_strip_nulls(coalesce(t.record, g.record)) AS record"
        "   FROM g LEFT JOIN taken t USING (sys_id)),"
        " stones AS (INSERT INTO nowbridge.tombstone (table_id, sys_id, gone_at, deleted_at, source, record)"
        "   SELECT {id}, l.sys_id, l.at, clock_timestamp(), 'sql', CASE WHEN r.delete_mode = 'soft' THEN l.record END"
        "   FROM last l JOIN nowbridge.replica_table r ON r.id = {id}"
        "   ON CONFLICT (table_id, sys_id) DO UPDATE SET gone_at = greatest(tombstone.gone_at, excluded.gone_at))"
        " INSERT INTO public._sync_cdc"
        "   (schema_name, table_name, sys_id, operation, changes, source, changed_at, applied_at)"
        "   SELECT {schema}, {label}, l.sys_id, 'delete', (SELECT jsonb_object_agg(key, jsonb_build_array(value, NULL))"
        "     FROM jsonb_each(l.record)), 'sql', l.at, clock_timestamp() FROM last l ORDER BY l.sys_id;"
        " END"
    ).format(table=table.relation.identifier, id=table.id, schema=table.relation.schema, label=table.relation.name)
    return _function(_name("bury", table), "(gone jsonb) RETURNS void", [PATH, WIRE], body)
