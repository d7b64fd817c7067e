-- Schema drift, contracts, column selection; labels that follow renames in tables that are not replicated.

ALTER TABLE nowbridge.replica_table
    -- evolve: columns follow the source. freeze: a change of the source's columns stops the table until somebody has
    -- looked. discard: new columns are left out.
    ADD COLUMN contract text NOT NULL DEFAULT 'evolve' CHECK (contract IN ('evolve', 'freeze', 'discard')),
    ADD COLUMN selection jsonb NOT NULL DEFAULT '{}', -- replica.layout.Selection: columns wanted, and their names here
    ADD COLUMN stopped jsonb;                         -- why nobody works on it until somebody has looked

-- Kinds of duties are those of replica.upkeep; a new one needs no migration.
ALTER TABLE nowbridge.duty DROP CONSTRAINT IF EXISTS duty_kind_check;

-- The columns that are not simply there and complete.
CREATE TABLE nowbridge.column_state (
    table_id    integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    column_name text NOT NULL,              -- its name here; of a column that is not here, in ServiceNow
    source      text NOT NULL,              -- the column in ServiceNow
    state       text NOT NULL CHECK (state IN ('filling', 'unreadable', 'removed', 'retyped', 'replaced', 'left out', 'ignored')),
    since       timestamptz NOT NULL,
    detail      text NOT NULL DEFAULT '',
    PRIMARY KEY (table_id, column_name)
);

-- The sweep that brings values into columns that are new, or readable again. One row per table, gone when it is done.
CREATE TABLE nowbridge.fill (
    table_id   integer PRIMARY KEY REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    sources    text[] NOT NULL,             -- columns in ServiceNow
    position   jsonb,                       -- NULL: from the start
    filled_to  text COLLATE "C",            -- rows up to this sys_id have them
    rows       bigint NOT NULL DEFAULT 0,
    calls      bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL
);

CREATE VIEW public._sync_columns AS
    SELECT t.schema_name, t.relation AS table_name, s.column_name, s.source, s.state, s.since,
           CASE WHEN s.state = 'filling' THEN coalesce(f.filled_to, '') END AS filled_to, s.detail
    FROM nowbridge.column_state s JOIN nowbridge.replica_table t ON t.id = s.table_id
    LEFT JOIN nowbridge.fill f ON f.table_id = s.table_id AND s.source = ANY (f.sources);
COMMENT ON VIEW public._sync_columns IS 'Columns of the replica that are incomplete, kept from before, or left out';
COMMENT ON COLUMN public._sync_columns.filled_to IS 'Rows with a sys_id up to this one have values already; later ones may still lack them';

-- Rows that a parent table has seen change their class: whether they have left this table is still to be looked at.
CREATE TABLE nowbridge.class_change (
    table_id integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    sys_id   text COLLATE "C" NOT NULL,
    PRIMARY KEY (table_id, sys_id)
);

-- What was last seen of metadata that is asked for by its number of rows and its newest change.
CREATE TABLE nowbridge.metadata_seen (
    connection_id integer NOT NULL REFERENCES nowbridge.connection ON DELETE CASCADE,
    subject       text NOT NULL,            -- columns:TABLE or choices
    seen          text NOT NULL,
    read_at       timestamptz NOT NULL,     -- when all of it was last read
    PRIMARY KEY (connection_id, subject)
);

-- Labels of referenced tables are followed like changes, each table at a pace of its own.
ALTER TABLE nowbridge.label_source
    ADD COLUMN cursor_time timestamptz,     -- NULL: not followed yet
    ADD COLUMN cursor_id   text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN every       interval,        -- the wait after the last look; grows while nothing is renamed
    ADD COLUMN next_at     timestamptz,
    ADD COLUMN epoch       bigint NOT NULL DEFAULT 0,
    ADD COLUMN lease_until timestamptz,
    ADD COLUMN owner       text,
    ADD COLUMN calls       bigint NOT NULL DEFAULT 0,
    ADD COLUMN last_error  jsonb;

INSERT INTO nowbridge.label_source (connection_id, table_name, listed_at)
    SELECT id, '(choices)', transaction_timestamp() FROM nowbridge.connection ON CONFLICT DO NOTHING;

-- A change of a choice's words: of the value `key` of this column. NULL: of the record `key`.
ALTER TABLE nowbridge.label_change ADD COLUMN column_name text;

-- Where words come from when sys_choice cannot be read: learned from the rows.
ALTER TABLE nowbridge.choice ADD COLUMN learned boolean NOT NULL DEFAULT false;
