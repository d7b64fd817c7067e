-- Hints: Business Rules in the instance say which records changed, and the records are then read back.

-- What stands in an instance on behalf of a connection. `hook_id` is part of every name there, so that several
-- installations on one instance do not meet. Times called "instance's" are by its clock.
CREATE TABLE nowbridge.hook (
    connection_id integer PRIMARY KEY REFERENCES nowbridge.connection ON DELETE CASCADE,
    hook_id       text NOT NULL UNIQUE,
    url           text NOT NULL,            -- where the rules post to
    sealed        bytea NOT NULL,           -- the secret of the signatures, bound to the connection's name and url
    clock_ahead   double precision NOT NULL DEFAULT 0, -- seconds that the instance's clock is ahead of ours
    made_at       timestamptz NOT NULL,
    refused       bigint NOT NULL DEFAULT 0, -- posts that were no valid hints
    refused_at    timestamptz
);

-- The tables of an instance that have a rule; it tells of the records of every class below, too.
CREATE TABLE nowbridge.hook_table (
    connection_id integer NOT NULL REFERENCES nowbridge.hook ON DELETE CASCADE,
    table_name    text NOT NULL,
    version       integer NOT NULL,
    active_from   timestamptz NOT NULL,     -- the instance's time from which changes are expected to be hinted
    PRIMARY KEY (connection_id, table_name)
);

-- One row for each record that was hinted, however often. It waits while `done_at` is NULL, and stays for a while as
-- the memory of what was hinted.
CREATE TABLE nowbridge.hint (
    id            bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    connection_id integer NOT NULL REFERENCES nowbridge.connection ON DELETE CASCADE,
    table_name    text NOT NULL,            -- the record's class
    sys_id        text COLLATE "C" NOT NULL,
    rule_table    text NOT NULL,            -- the table whose rule told
    mod_count     integer,                  -- the newest version that was hinted
    updated_on    timestamptz,
    deleted       boolean NOT NULL,         -- a deletion was among what was hinted since it was last done
    arrivals      integer NOT NULL DEFAULT 1, -- whoever works on a hint sees by this that another one came
    received_at   timestamptz NOT NULL,     -- of the first that is not done
    last_at       timestamptz NOT NULL,
    next_try_at   timestamptz NOT NULL,
    tries         integer NOT NULL DEFAULT 0,
    epoch         bigint NOT NULL DEFAULT 0,
    lease_until   timestamptz,
    done_at       timestamptz,
    outcome       text,                     -- seen, gone, hidden, kept, foreign, not seen
    PRIMARY KEY (connection_id, sys_id, table_name)
);
CREATE INDEX hint_due ON nowbridge.hint (connection_id, next_try_at) WHERE done_at IS NULL;
CREATE INDEX hint_latest ON nowbridge.hint (connection_id, rule_table, last_at);

-- Signatures of the last minutes: none is taken twice.
CREATE TABLE nowbridge.hint_signature (
    connection_id integer NOT NULL REFERENCES nowbridge.hook ON DELETE CASCADE,
    digest        bytea NOT NULL,
    seen_at       timestamptz NOT NULL,
    PRIMARY KEY (connection_id, digest)
);
CREATE INDEX hint_signature_age ON nowbridge.hint_signature (seen_at);

-- Changes of tables with a rule, by the way that brought them.
CREATE TABLE nowbridge.hint_tally (
    table_id integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    hour     timestamptz NOT NULL,
    by_hint  bigint NOT NULL DEFAULT 0,
    by_poll  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (table_id, hour)
);

-- Changes that a poll found and that no hint had told of. A row goes when the hint comes after all.
CREATE TABLE nowbridge.unhinted (
    table_id  integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    sys_id    text COLLATE "C" NOT NULL,
    mod_count integer,
    found_at  timestamptz NOT NULL,
    PRIMARY KEY (table_id, sys_id)
);
CREATE INDEX unhinted_age ON nowbridge.unhinted (table_id, found_at);

ALTER TABLE nowbridge.stream
    ADD COLUMN poll_every interval;         -- the wait that was chosen after the last pass; NULL: none was yet

-- recent: keys and versions of what changed lately are compared, for what was committed late.
ALTER TABLE nowbridge.duty DROP CONSTRAINT duty_kind_check;
ALTER TABLE nowbridge.duty ADD CONSTRAINT duty_kind_check CHECK (kind IN ('audit', 'check', 'compare', 'recent'));
