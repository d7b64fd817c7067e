-- Deletes and proof: what is done by itself for each table and when, what was deleted, what is out of sight.

-- hard: a deleted row leaves no more than its tombstone. soft: the tombstone keeps its last state.
ALTER TABLE nowbridge.replica_table ADD COLUMN delete_mode text NOT NULL DEFAULT 'hard'
    CHECK (delete_mode IN ('hard', 'soft'));

-- A thing to be done for a table again and again. `epoch` fences, as in nowbridge.shard.
CREATE TABLE nowbridge.duty (
    table_id    integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    kind        text NOT NULL CHECK (kind IN ('audit', 'check', 'compare')),
    next_at     timestamptz NOT NULL,
    done_at     timestamptz,
    calls       bigint NOT NULL DEFAULT 0,
    epoch       bigint NOT NULL DEFAULT 0,
    owner       text,
    lease_until timestamptz,
    failures    integer NOT NULL DEFAULT 0,
    last_error  jsonb,
    PRIMARY KEY (table_id, kind)
);

-- What is known of a table's deletes. Times of the journal are the instance's.
CREATE TABLE nowbridge.delete_watch (
    table_id      integer PRIMARY KEY REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    journal       text NOT NULL DEFAULT 'unknown' CHECK (journal IN ('unknown', 'readable', 'partly', 'unreadable')),
    journal_to    timestamptz,              -- sys_audit_delete has been read up to here
    journal_asked timestamptz,              -- when its horizon was last looked at
    compared_at   timestamptz,              -- when all keys were last compared, by our clock
    held          jsonb,                    -- why deletes wait for somebody: {reason, wanted, rows, since}
    allowed       bigint                    -- how many deletes somebody has confirmed for the next comparison
);

-- Deleted rows. A page that was read before the deletion and arrives after it must not bring the row back.
CREATE TABLE nowbridge.tombstone (
    id         bigint GENERATED ALWAYS AS IDENTITY,
    table_id   integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    sys_id     text COLLATE "C" NOT NULL,
    gone_at    timestamptz NOT NULL,        -- the instance's time at which the row was certainly gone
    deleted_at timestamptz NOT NULL,        -- when it was deleted here, by our clock
    source     text NOT NULL,
    record     jsonb,                       -- soft deletes: the row as it was
    PRIMARY KEY (table_id, sys_id)
);
CREATE INDEX tombstone_age ON nowbridge.tombstone (deleted_at);

CREATE VIEW public._sync_deleted AS
    SELECT t.relation AS table_name, d.sys_id, d.deleted_at, d.source, d.record
    FROM nowbridge.tombstone d JOIN nowbridge.replica_table t ON t.id = d.table_id WHERE d.record IS NOT NULL;
COMMENT ON VIEW public._sync_deleted IS 'Deleted records of tables with soft deletes, each as it last was';

-- Rows that are kept although the account does not see them any more: they still count.
CREATE TABLE nowbridge.invisible (
    table_id integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    sys_id   text COLLATE "C" NOT NULL,
    since    timestamptz NOT NULL,
    PRIMARY KEY (table_id, sys_id)
);

-- What ServiceNow counts in a range of sys_ids and does not show, learned at a listing of keys.
CREATE TABLE nowbridge.hidden_bucket (
    table_id  integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    prefix    text COLLATE "C" NOT NULL,
    grouped_by text NOT NULL,                -- the column whose values are counted
    counts    jsonb NOT NULL,               -- {value: rows}
    PRIMARY KEY (table_id, prefix, grouped_by)
);
