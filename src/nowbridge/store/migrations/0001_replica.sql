-- What the replica knows about itself. Times are timestamptz; every "when" is given by the caller's clock.

CREATE TABLE nowbridge.connection (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    url           text NOT NULL,
    auth          text NOT NULL CHECK (auth IN ('basic', 'oauth_password', 'client_credentials', 'api_key')),
    username      text,
    client_id     text,
    sealed        bytea NOT NULL,           -- the secrets of `auth`, AES-256-GCM, bound to this row's name and url
    schema_name   text NOT NULL,            -- where its replica tables stand
    options       jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL
);

CREATE TABLE nowbridge.replica_table (
    id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id integer NOT NULL REFERENCES nowbridge.connection,
    source        text NOT NULL,            -- the table's name in ServiceNow
    schema_name   text NOT NULL,
    relation      text NOT NULL,            -- the table's name here
    query         text NOT NULL DEFAULT '', -- encoded query that limits what is fetched, passed on unchanged
    layout        jsonb NOT NULL,           -- columns as made here, with the source column of each
    layout_epoch  integer NOT NULL DEFAULT 1,
    phase         text NOT NULL CHECK (phase IN ('planned', 'backfill', 'live')),
    total_count   bigint,                   -- X-Total-Count when the backfill was cut into shards: rows that the
                                            -- account may not see are counted too
    added_at      timestamptz NOT NULL,
    backfilled_at timestamptz,
    last_error    jsonb,                    -- why preparing it did not work so far
    UNIQUE (connection_id, source),
    UNIQUE (schema_name, relation)
);

-- A range of sys_ids of one table's backfill: `low < sys_id <= high`, NULL is open. `position` moves in the
-- transaction that holds the rows. `epoch` fences: whoever claims a shard raises it, and a write under an older
-- epoch fails, so a paused worker that wakes up can change nothing.
CREATE TABLE nowbridge.shard (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_id    integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    low         text COLLATE "C",
    high        text COLLATE "C",
    position    jsonb,
    rows        bigint NOT NULL DEFAULT 0,
    hidden      bigint NOT NULL DEFAULT 0,
    calls       bigint NOT NULL DEFAULT 0,
    epoch       bigint NOT NULL DEFAULT 0,
    owner       text,
    lease_until timestamptz,
    started_at  timestamptz,
    moved_at    timestamptz,
    done_at     timestamptz,
    failures    integer NOT NULL DEFAULT 0, -- in a row; back to 0 with every page
    next_try_at timestamptz,
    last_error  jsonb
);
CREATE INDEX shard_of_table ON nowbridge.shard (table_id);
CREATE INDEX shard_to_do ON nowbridge.shard (id) WHERE done_at IS NULL;

-- Where the change stream of one table stands. Every change with `sys_updated_on <= proven_to` is in the replica.
CREATE TABLE nowbridge.stream (
    table_id     integer PRIMARY KEY REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    cursor_time  timestamptz NOT NULL,
    cursor_id    text COLLATE "C" NOT NULL DEFAULT '',
    proven_to    timestamptz NOT NULL,      -- by the instance's clock
    proven_at    timestamptz,               -- when that was so, by ours
    next_poll_at timestamptz NOT NULL,
    epoch        bigint NOT NULL DEFAULT 0,
    owner        text,
    lease_until  timestamptz,
    calls        bigint NOT NULL DEFAULT 0,
    changes      bigint NOT NULL DEFAULT 0,
    failures     integer NOT NULL DEFAULT 0,
    last_error   jsonb
);

-- Tables whose records are referenced by replicated ones, and the column that stands for such a record.
CREATE TABLE nowbridge.label_source (
    connection_id integer NOT NULL REFERENCES nowbridge.connection ON DELETE CASCADE,
    table_name    text NOT NULL,
    display       text,                     -- NULL: unknown or unreadable, the stored value is shown
    listed_at     timestamptz,              -- when all its labels were read; NULL: they are read as they are met
    PRIMARY KEY (connection_id, table_name)
);

-- What people read for a stored value. A NULL label is a record that was looked for and could not be read.
CREATE TABLE nowbridge.label (
    connection_id integer NOT NULL REFERENCES nowbridge.connection ON DELETE CASCADE,
    table_name    text NOT NULL,            -- the table that references point at
    key           text COLLATE "C" NOT NULL,
    label         text,
    seen_at       timestamptz NOT NULL,
    PRIMARY KEY (connection_id, table_name, key)
);

CREATE TABLE nowbridge.choice (
    connection_id integer NOT NULL REFERENCES nowbridge.connection ON DELETE CASCADE,
    table_name    text NOT NULL,
    column_name   text NOT NULL,
    dependent     text NOT NULL DEFAULT '',
    value         text NOT NULL,
    label         text NOT NULL,
    PRIMARY KEY (connection_id, table_name, column_name, dependent, value)
);

-- A label that changed: the rows that show the old one are still to be rewritten (traps, finding 23).
CREATE TABLE nowbridge.label_change (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id integer NOT NULL REFERENCES nowbridge.connection ON DELETE CASCADE,
    table_name    text NOT NULL,
    key           text COLLATE "C" NOT NULL,
    label         text,
    changed_at    timestamptz NOT NULL,
    settle_after  xid8                      -- transactions older than this may still write the old label
);

-- Counts renames, so that a worker knows whether the labels that it holds in memory are still good.
CREATE TABLE nowbridge.label_generation (
    connection_id integer PRIMARY KEY REFERENCES nowbridge.connection ON DELETE CASCADE,
    generation    bigint NOT NULL
);

CREATE TABLE nowbridge.proof (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_id   integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    level      text NOT NULL CHECK (level IN ('checked', 'proven', 'proven by content')),
    started_at timestamptz NOT NULL,
    proven_to  timestamptz NOT NULL,
    rows       bigint NOT NULL,
    hidden     bigint NOT NULL,
    differing  bigint NOT NULL,
    repaired   bigint NOT NULL,
    calls      bigint NOT NULL
);
CREATE INDEX proof_of_table ON nowbridge.proof (table_id, id DESC);

-- Values that could not be stored as their column's type; the column holds NULL. The value itself is not kept here.
CREATE TABLE nowbridge.value_issue (
    table_id    integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    sys_id      text COLLATE "C" NOT NULL,
    column_name text NOT NULL,
    problem     text NOT NULL,
    seen_at     timestamptz NOT NULL,
    PRIMARY KEY (table_id, sys_id, column_name)
);

CREATE TABLE nowbridge.worker (
    name       text PRIMARY KEY,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    detail     jsonb NOT NULL DEFAULT '{}'
);

-- The change feed that users tail. Rows of a table's first load are not in it: one row with operation 'backfill' and
-- no sys_id says that the table is complete, and everything after it is here.
CREATE TABLE public._sync_cdc (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name  text NOT NULL,
    sys_id      text COLLATE "C",
    operation   text NOT NULL CHECK (operation IN ('insert', 'update', 'delete', 'backfill', 'repair')),
    changes     jsonb,                      -- {column: [before, after]}
    source      text NOT NULL,              -- poll, backfill, verify, hint
    version     integer,                    -- sys_mod_count
    changed_at  timestamptz,                -- sys_updated_on
    applied_at  timestamptz NOT NULL,
    lag         interval GENERATED ALWAYS AS (applied_at - changed_at) STORED
);
CREATE INDEX _sync_cdc_of_record ON public._sync_cdc (table_name, sys_id);
COMMENT ON TABLE public._sync_cdc IS 'Changes that Nowbridge applied to the replica, in order of id';
