-- Writing ServiceNow by SQL. Triggers on replica tables note what a transaction changes; at its end the changes are
-- handed over to a writer, outside of the transaction, and the transaction succeeds or fails with ServiceNow's answer.
-- traps.md, A to C, has the experiments behind every line. Functions here are called by triggers and by the loop-back
-- role only: EXECUTE on all of them is taken from PUBLIC, and their search_path is fixed, with pg_temp last.

-- What a writer role may write, and how: one row per column that can be handed over. Made with the table's triggers.
CREATE TABLE nowbridge.write_column (
    table_id     integer NOT NULL REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    name         text NOT NULL,             -- the replica column that holds the stored value
    source       text NOT NULL,             -- the column in ServiceNow
    shown        text,                      -- the replica column that holds the label, if any
    journal      boolean NOT NULL DEFAULT false,
    reference    text,                      -- the table that a reference or a list points at
    read_only    boolean NOT NULL DEFAULT false,
    mandatory    boolean NOT NULL DEFAULT false,
    max_length   integer,
    closed       boolean NOT NULL DEFAULT false, -- not loaded now (removed, unreadable): only NULL, or what it holds
    PRIMARY KEY (table_id, name)
);

-- The tables that have their triggers, and the layout that these were made for.
CREATE TABLE nowbridge.write_table (
    table_id     integer PRIMARY KEY REFERENCES nowbridge.replica_table ON DELETE CASCADE,
    layout_epoch integer NOT NULL
);

-- What SQL users may delete: `allow`, as many as the setting says; `refuse`, none; a number, above which they must say
-- that the deletes are meant.
ALTER TABLE nowbridge.replica_table ADD COLUMN sql_deletes text NOT NULL DEFAULT 'allow'
    CHECK (sql_deletes ~ '^(allow|refuse|[0-9]{1,7})$');

-- What the running transactions have changed so far; a transaction's rows go when they are handed over.
CREATE TABLE nowbridge.pending (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    table_id  integer NOT NULL,
    sys_id    text COLLATE "C" NOT NULL,
    operation text NOT NULL CHECK (operation IN ('insert', 'update', 'delete')),
    changes   jsonb NOT NULL                -- {column: [before, after]}
);
CREATE INDEX pending_of_transaction ON nowbridge.pending (xid);

-- One row per transaction that has something to hand over: its deferred trigger is the hand-over.
CREATE TABLE nowbridge.ticket (
    xid       xid8 PRIMARY KEY,
    statement text NOT NULL
);

-- Every write that was handed over, and what became of it. Committed before anything is sent, outside of the client's
-- transaction, so it knows of writes whose transaction failed afterwards.
--   new -> taken -> sent -> done | refused | unknown        abandoned: the client gave up before anything was sent
-- `settled` says how the client's transaction and ServiceNow came to agree: committed, reverted, kept, nothing.
CREATE TABLE nowbridge.write_log (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mode         text NOT NULL DEFAULT 'write' CHECK (mode IN ('write', 'plan', 'undo')),
    state        text NOT NULL DEFAULT 'new'
                 CHECK (state IN ('new', 'taken', 'sent', 'done', 'refused', 'unknown', 'abandoned')),
    settled      text CHECK (settled IN ('committed', 'reverted', 'kept', 'nothing')),
    connection_id integer REFERENCES nowbridge.connection ON DELETE CASCADE,
    role         text NOT NULL,
    application  text NOT NULL DEFAULT '',
    client_pid   integer,
    client_xid   xid8,                      -- NULL: no transaction waits for this write
    client_gone  boolean NOT NULL DEFAULT false,
    statement    text NOT NULL,
    confirmed    boolean NOT NULL DEFAULT false, -- the client said that many deletes are meant
    changes      jsonb NOT NULL,            -- [[table_id, sys_id, operation, {column: [before, after]}], ...]
    undoes       bigint REFERENCES nowbridge.write_log,
    submitted_at timestamptz NOT NULL,
    taken_at     timestamptz,
    sent_at      timestamptz,
    ended_at     timestamptz,
    worker       text,
    epoch        bigint NOT NULL DEFAULT 0, -- fences, as in nowbridge.shard
    lease_until  timestamptz,
    silent_since timestamptz,               -- sent: until when the writer that fell silent may have sent more
    look_at      timestamptz,               -- unknown: when to look in ServiceNow what became of it
    plan         jsonb,                     -- the steps, as they were sent
    outcome      jsonb,                     -- what became of each step
    answer       jsonb,                     -- for the client: rows to put into the replica, notices; empty when settled
    sqlstate     text,
    message      text,
    detail       text,
    hint         text
);
CREATE INDEX write_log_to_do ON nowbridge.write_log (id) WHERE state IN ('new', 'taken', 'sent', 'unknown');
CREATE INDEX write_log_to_settle ON nowbridge.write_log (id) WHERE settled IS NULL AND state IN ('done', 'refused');

-- Made in the client's own (sub)transaction when its write was accepted: missing after its COMMIT, the write stood in
-- a part of the transaction that was rolled back (SET CONSTRAINTS IMMEDIATE, then ROLLBACK TO SAVEPOINT).
CREATE TABLE nowbridge.write_marker (
    write_id bigint PRIMARY KEY
);

-- Users of SQL that Nowbridge made. `tables` NULL: all.
CREATE TABLE nowbridge.sql_user (
    name       text PRIMARY KEY,
    writes     boolean NOT NULL,
    tables     text[],
    stamp      jsonb NOT NULL DEFAULT '{}', -- {column: value}: set in every record that this user writes
    added_at   timestamptz NOT NULL
);

CREATE VIEW public._sync_writes WITH (security_barrier) AS
    SELECT id, submitted_at, ended_at, role, application, statement, state, settled, outcome, sqlstate, message, detail
    FROM nowbridge.write_log WHERE mode <> 'plan' AND (role = session_user OR session_user = (
        SELECT tableowner FROM pg_catalog.pg_tables WHERE schemaname = 'nowbridge' AND tablename = 'write_log'));
COMMENT ON VIEW public._sync_writes IS 'Your writes to ServiceNow by SQL, and what became of each';

-- What the loop-back role may do: submit a write, ask how it stands, fetch its answer, give it up. ------------------

-- Nothing is sent before it stands in the log, also where the server's setting lets a crash lose what was committed.
CREATE FUNCTION nowbridge.commit_durably() RETURNS boolean
LANGUAGE sql SET search_path = pg_catalog, nowbridge, pg_temp AS $$
    SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
        ELSE current_setting('synchronous_commit') END, true) IS NOT NULL
$$;

-- The write is of a transaction that runs now, in the backend that says so: both are looked up, not believed.
CREATE FUNCTION nowbridge.submit_write(
    p_pid integer, p_xid xid8, p_role text, p_application text, p_statement text, p_mode text, p_confirmed boolean,
    p_changes jsonb
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_id bigint;
    v_connections integer[];
BEGIN
    IF pg_xact_status(p_xid) IS DISTINCT FROM 'in progress' OR NOT EXISTS (
        SELECT FROM pg_locks WHERE locktype = 'transactionid' AND pid = p_pid AND granted
           AND transactionid::text = (p_xid::text::numeric % 4294967296)::text
    ) THEN
        RAISE EXCEPTION 'no transaction % runs in backend %', p_xid, p_pid USING ERRCODE = '42501';
    END IF;
    SELECT array_agg(DISTINCT t.connection_id) INTO v_connections
      FROM jsonb_array_elements(p_changes) c JOIN nowbridge.replica_table t ON t.id = (c->>0)::integer;
    IF cardinality(v_connections) IS DISTINCT FROM 1 THEN
        RAISE EXCEPTION '[ServiceNow] One transaction can write to one instance only.' USING ERRCODE = '0A000',
            HINT = 'Write the tables of the other instance in a transaction of their own.';
    END IF;
    -- Not worth waiting for the disk: nothing is sent before a writer's note of that is on it, and that comes later in
    -- the same log. What a crash forgets until then was of a client that it ended.
    PERFORM set_config('synchronous_commit', 'off', true);
    INSERT INTO nowbridge.write_log
        (mode, connection_id, role, application, client_pid, client_xid, statement, confirmed, changes, submitted_at)
    VALUES (p_mode, v_connections[1], p_role, p_application, p_pid, p_xid, p_statement, p_confirmed, p_changes,
        clock_timestamp())
    RETURNING id INTO v_id;
    PERFORM pg_notify('nowbridge_write', v_id::text);
    RETURN v_id;
END $$;

-- How a write stands, and once it has ended, what the client is to know.
CREATE FUNCTION nowbridge.write_stands(p_id bigint, OUT state text, OUT said jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
    SELECT w.state, CASE WHEN w.state IN ('done', 'refused') THEN jsonb_build_object('answer', w.answer,
        'sqlstate', w.sqlstate, 'message', w.message, 'detail', w.detail, 'hint', w.hint) END
      FROM nowbridge.write_log w WHERE w.id = p_id
$$;

-- Returns the state in which the client left it: abandoned when nothing had been sent, else what it was.
CREATE FUNCTION nowbridge.abandon_write(p_id bigint) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS
    'UPDATE nowbridge.write_log SET client_gone = true,
            ended_at = CASE WHEN state IN (''new'', ''taken'') THEN clock_timestamp() ELSE ended_at END,
            settled = CASE WHEN state IN (''new'', ''taken'') THEN ''nothing'' ELSE settled END,
            state = CASE WHEN state IN (''new'', ''taken'') THEN ''abandoned'' ELSE state END
      WHERE id = p_id RETURNING state';

-- The same for the write of a transaction that does not know its number: the cancel came while it was handed over.
CREATE FUNCTION nowbridge.abandon_write_of(p_xid xid8, OUT id bigint, OUT state text)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp SET lock_timeout = '5s' AS $$
    SELECT w.id, nowbridge.abandon_write(w.id) FROM nowbridge.write_log w
     WHERE w.client_xid = p_xid AND w.state IN ('new', 'taken', 'sent') ORDER BY w.id DESC LIMIT 1
$$;

-- The client's side -------------------------------------------------------------------------------------------------

-- Opens the loop-back connection of this backend. A few backends keep theirs open; when those are taken, one more is
-- opened for the length of the transaction; above that, a write waits. Returns whether to close it afterwards.
-- Their advisory locks have a class of their own (28275): the applier's, on tables, are of 28279.
CREATE FUNCTION nowbridge.open_loopback(p_until timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    c_kept constant integer := 10;
    c_all constant integer := 20;
    v_open boolean;
BEGIN
    IF to_regproc('nowbridge_dblink.dblink_get_connections') IS NULL THEN
        RAISE EXCEPTION '[ServiceNow] The way out for writes is closed: the extension dblink is not installed.'
            USING ERRCODE = '08001', HINT = 'Nothing was sent. `nowbridge check` says what an administrator has to run.';
    END IF;
    v_open := 'nowbridge_loopback' = ANY (coalesce(nowbridge_dblink.dblink_get_connections(), '{}'));
    IF v_open AND nowbridge_dblink.dblink_is_busy('nowbridge_loopback') = 0 -- reads what came in, an end too
       AND nowbridge_dblink.dblink_error_message('nowbridge_loopback') = 'OK' THEN
        RETURN false;
    ELSIF v_open THEN
        BEGIN
            PERFORM * FROM nowbridge_dblink.dblink('nowbridge_loopback', 'SELECT 1') AS alive(one integer);
            RETURN false;
        EXCEPTION WHEN OTHERS THEN -- the server ended it, or it was left in the middle of an answer
            PERFORM nowbridge_dblink.dblink_disconnect('nowbridge_loopback');
        END;
    END IF;
    LOOP
        FOR slot IN 1 .. c_all LOOP
            IF slot <= c_kept AND pg_try_advisory_lock(28275, slot)
               OR slot > c_kept AND pg_try_advisory_xact_lock(28275, slot) THEN
                BEGIN
                    PERFORM nowbridge_dblink.dblink_connect('nowbridge_loopback', 'nowbridge_loopback');
                EXCEPTION WHEN OTHERS THEN
                    IF slot <= c_kept THEN PERFORM pg_advisory_unlock(28275, slot); END IF;
                    RAISE EXCEPTION '[ServiceNow] The way out for writes is closed: %', SQLERRM USING ERRCODE = '08001',
                        HINT = 'Nothing was sent. `nowbridge check` tests the loop-back connection and says what it needs.';
                END;
                RETURN slot > c_kept;
            END IF;
        END LOOP;
        IF clock_timestamp() > p_until THEN
            RAISE EXCEPTION '[ServiceNow] Too many writes wait at the same time.' USING ERRCODE = '53300',
                HINT = 'Nothing was sent. Try again, or use fewer connections that write.';
        END IF;
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;

-- Another loop-back connection in the place of one that was left in the middle of an answer.
CREATE FUNCTION nowbridge.reopen_loopback() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
BEGIN
    IF 'nowbridge_loopback' = ANY (coalesce(nowbridge_dblink.dblink_get_connections(), '{}')) THEN
        PERFORM nowbridge_dblink.dblink_disconnect('nowbridge_loopback');
    END IF;
    PERFORM nowbridge_dblink.dblink_connect('nowbridge_loopback', 'nowbridge_loopback');
END $$;

-- Until when this statement may wait: its statement_timeout, and the setting nowbridge.write_timeout (60 s).
CREATE FUNCTION nowbridge.write_deadline() RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, nowbridge, pg_temp AS $$
    SELECT statement_timestamp() + least(
        coalesce(nullif(current_setting('nowbridge.write_timeout', true), ''), '60s')::interval,
        nullif(current_setting('statement_timeout'), '0')::interval)
$$;

-- Waits until a writer has ended a write, if one has it: its connection holds the first lock from its claim on, and lets
-- go of it while it holds the second, which ends with the transaction that notes the end (store.writes.write_desk). Else, and
-- after p_most at the latest, this returns for somebody to look. Locks are let go at once: they are nothing but a bell.
CREATE FUNCTION nowbridge.await_bell(p_id bigint, p_most interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    v_key constant integer := p_id % 2147483647;
BEGIN
    PERFORM set_config('lock_timeout', greatest(1, ceil(extract(epoch FROM p_most) * 1000))::text, true);
    PERFORM pg_advisory_lock_shared(28276, v_key), pg_advisory_unlock_shared(28276, v_key),
        pg_advisory_lock_shared(28277, v_key), pg_advisory_unlock_shared(28277, v_key);
EXCEPTION WHEN lock_not_available THEN
    NULL;
END $$;

-- Hands changes over and waits for what becomes of them. Returns the answer of a write that was accepted; every other
-- end is an error. Called by the flush and by plan_write.
CREATE FUNCTION nowbridge.hand_over(p_mode text, p_statement text, p_changes jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_until timestamptz := nowbridge.write_deadline();
    v_close boolean;
    v_id bigint;
    v_state text;
    v_begun constant timestamptz := clock_timestamp();
    v_pause double precision := 0.001; -- every look wakes two processes, which the writer may need
    v_why text;
    v_said jsonb;
    v_handing boolean := false;
BEGIN
    BEGIN
        v_close := nowbridge.open_loopback(v_until);
        v_handing := true;
        SELECT id INTO v_id FROM nowbridge_dblink.dblink('nowbridge_loopback', format(
            'SELECT nowbridge.submit_write(%s, %L, %L, %L, %L, %L, %L, %L)',
            pg_backend_pid(), pg_current_xact_id(), session_user, current_setting('application_name'), p_statement, p_mode,
            coalesce(nullif(current_setting('nowbridge.confirm_deletes', true), ''), 'off'), p_changes))
            AS submitted(id bigint);
    EXCEPTION WHEN query_canceled THEN
        v_why := 'Canceled on request';
        v_state := 'abandoned';
    END;
    IF v_why IS NOT NULL AND v_handing THEN -- whether it came through decides how it stands
        PERFORM nowbridge.reopen_loopback();
        SELECT id, coalesce(state, 'abandoned') INTO v_id, v_state FROM nowbridge_dblink.dblink('nowbridge_loopback',
            format('SELECT * FROM nowbridge.abandon_write_of(%L)', pg_current_xact_id())) AS left_in(id bigint, state text);
    END IF;
    WHILE v_why IS NULL LOOP
        BEGIN
            PERFORM pg_sleep(v_pause);
            v_pause := least(v_pause * 1.15, CASE WHEN clock_timestamp() < v_begun + interval '1 s' THEN 0.01 ELSE 0.05 END);
            PERFORM nowbridge.await_bell(v_id, least(v_until - clock_timestamp(), interval '500 ms'));
            IF clock_timestamp() > v_until THEN
                v_why := 'The time for it is over';
            ELSE
                SELECT state, said INTO v_state, v_said FROM nowbridge_dblink.dblink('nowbridge_loopback',
                    format('SELECT * FROM nowbridge.write_stands(%s)', v_id)) AS stands(state text, said jsonb);
            END IF;
        EXCEPTION WHEN query_canceled THEN
            v_why := 'Canceled on request';
        END;
        IF v_why IS NOT NULL THEN
            BEGIN
                SELECT state INTO v_state FROM nowbridge_dblink.dblink('nowbridge_loopback',
                    format('SELECT nowbridge.abandon_write(%s)', v_id)) AS left_in(state text);
            EXCEPTION WHEN OTHERS THEN -- the cancel came in the middle of an answer
                PERFORM nowbridge.reopen_loopback();
                SELECT state INTO v_state FROM nowbridge_dblink.dblink('nowbridge_loopback',
                    format('SELECT nowbridge.abandon_write(%s)', v_id)) AS left_in(state text);
            END;
        END IF;
        EXIT WHEN v_state NOT IN ('new', 'taken', 'sent');
    END LOOP;
    IF v_state IN ('done', 'refused') AND v_said IS NULL THEN -- ended while this was giving it up
        SELECT said INTO v_said FROM nowbridge_dblink.dblink('nowbridge_loopback',
            format('SELECT said FROM nowbridge.write_stands(%s)', v_id)) AS stands(said jsonb);
    END IF;
    IF v_close THEN
        PERFORM nowbridge_dblink.dblink_disconnect('nowbridge_loopback');
    END IF;
    IF v_state = 'done' THEN
        RETURN (v_said->'answer') || jsonb_build_object('write', v_id);
    ELSIF v_state = 'refused' THEN
        RAISE EXCEPTION USING ERRCODE = v_said->>'sqlstate', MESSAGE = v_said->>'message',
            DETAIL = coalesce(v_said->>'detail', 'ServiceNow gave no reason.'),
            HINT = coalesce(v_said->>'hint', 'See `nowbridge writes` and the log of the instance.');
    ELSIF v_state IN ('abandoned', 'new', 'taken') THEN
        RAISE EXCEPTION '[ServiceNow] %; nothing was sent.', v_why USING ERRCODE = '57014',
            HINT = 'Is a worker running (`nowbridge status`)? Or is an earlier write of a record not settled (`nowbridge writes`)?';
    END IF;
    RAISE EXCEPTION '[ServiceNow] %: the write was sent, and what became of it is not known yet.',
        coalesce(v_why, 'No answer came') USING ERRCODE = '08007', DETAIL = format('Write %s of the log.', v_id),
        HINT = format('It will be settled by itself; SELECT * FROM _sync_writes WHERE id = %s tells how.', v_id);
END $$;

-- Changes of one record, {column: [before, after]}: before as the client found it, after as ServiceNow has it.
CREATE FUNCTION nowbridge.joined_changes(p_by_client jsonb, p_by_servicenow jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, nowbridge, pg_temp AS $$
    SELECT jsonb_object_agg(key, jsonb_build_array(coalesce(c.value, s.value)->0, coalesce(s.value, c.value)->1))
      FROM jsonb_each(p_by_client) c FULL JOIN jsonb_each(p_by_servicenow) s USING (key)
$$;

-- ServiceNow's answer in the other tables of the hierarchy. A row that another client holds there is left alone, since
-- that client may wait for one of ours: the record is read back when it is free. So two clients who write the same records
-- through different tables meet in no deadlock.
CREATE FUNCTION nowbridge.patch_beside(p_table integer, p_rows jsonb, p_gone boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_ids constant text[] := ARRAY(SELECT value->>'sys_id' FROM jsonb_array_elements(p_rows));
    v_table nowbridge.replica_table;
    v_held text[];
BEGIN
    SELECT * INTO STRICT v_table FROM nowbridge.replica_table WHERE id = p_table;
    BEGIN
        EXECUTE format('SELECT ARRAY(SELECT sys_id FROM %1$I.%2$I WHERE sys_id = ANY($1) EXCEPT SELECT sys_id FROM ('
            'SELECT sys_id FROM %1$I.%2$I WHERE sys_id = ANY($1) ORDER BY sys_id FOR UPDATE SKIP LOCKED) AS free)',
            v_table.schema_name, v_table.relation) INTO v_held USING v_ids;
    EXCEPTION WHEN serialization_failure THEN -- REPEATABLE READ, and somebody has changed it since
        v_held := v_ids;
    END;
    p_rows := (SELECT jsonb_agg(value) FROM jsonb_array_elements(p_rows) WHERE value->>'sys_id' <> ALL (v_held));
    IF p_gone THEN
        EXECUTE format('SELECT nowbridge.%I($1)', 'bury_' || p_table) USING coalesce(p_rows, '[]');
    ELSE
        EXECUTE format('SELECT nowbridge.%I($1, NULL)', 'receive_' || p_table) USING coalesce(p_rows, '[]');
    END IF;
    INSERT INTO nowbridge.hint AS h (connection_id, table_name, sys_id, rule_table, deleted, deferred, received_at, last_at,
        next_try_at)
    SELECT v_table.connection_id, v_table.source, id, v_table.source, p_gone, true, clock_timestamp(), clock_timestamp(),
        clock_timestamp() FROM unnest(v_held) AS u(id) ORDER BY id
    ON CONFLICT (connection_id, sys_id, table_name) DO UPDATE SET deferred = true, arrivals = h.arrivals + 1,
        deleted = excluded.deleted OR (h.deleted AND h.done_at IS NULL), received_at = CASE WHEN h.done_at IS NULL
            THEN h.received_at ELSE excluded.received_at END, next_try_at = excluded.next_try_at, done_at = NULL;
END $$;

-- At the end of a transaction (or of a statement, with SET CONSTRAINTS ALL IMMEDIATE): all that it changed, handed over
-- once; then what ServiceNow made of it is put into the rows.
CREATE FUNCTION nowbridge.flush_writes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_changes jsonb;
    v_answer jsonb;
    v_part record;
BEGIN
    SELECT jsonb_agg(jsonb_build_array(table_id, sys_id, operation, changes) ORDER BY seq) INTO v_changes
      FROM nowbridge.pending WHERE xid = NEW.xid;
    DELETE FROM nowbridge.pending WHERE xid = NEW.xid;
    DELETE FROM nowbridge.ticket WHERE xid = NEW.xid;
    IF v_changes IS NULL THEN
        RETURN NULL;
    END IF;
    IF regexp_replace(current_query(), '(--[^\n]*|/\*.*?\*/|\s)+', ' ', 'g') ~* '^ ?prepare transaction' THEN
        RAISE EXCEPTION '[ServiceNow] Writes cannot be part of a prepared transaction.' USING ERRCODE = '0A000',
            HINT = 'Nothing was sent. Use COMMIT.';
    END IF;
    v_answer := nowbridge.hand_over('write', NEW.statement, v_changes);
    BEGIN
        FOR v_part IN SELECT key::integer AS table_id, value AS rows FROM jsonb_each(v_answer->'rows') LOOP
            EXECUTE format('SELECT nowbridge.%I($1, $2)', 'receive_' || v_part.table_id)
                USING v_part.rows, v_answer->'said'->(v_part.table_id::text);
        END LOOP;
        FOR v_part IN SELECT key::integer AS table_id, value AS ids FROM jsonb_each(v_answer->'gone') LOOP
            EXECUTE format('SELECT nowbridge.%I($1)', 'bury_' || v_part.table_id) USING v_part.ids;
        END LOOP;
        PERFORM nowbridge.patch_beside(key::integer, value, false) FROM jsonb_each(v_answer->'rows_beside');
        PERFORM nowbridge.patch_beside(key::integer, value, true) FROM jsonb_each(v_answer->'gone_beside');
    EXCEPTION WHEN query_canceled THEN
        RAISE EXCEPTION '[ServiceNow] Canceled on request, after ServiceNow had accepted the write.' USING ERRCODE = '08007',
            DETAIL = format('Write %s of the log.', v_answer->>'write'), HINT = format(
            'It will be settled by itself; SELECT * FROM _sync_writes WHERE id = %s tells how.', v_answer->>'write');
    END;
    INSERT INTO nowbridge.write_marker (write_id) VALUES ((v_answer->>'write')::bigint);
    FOR v_part IN SELECT value->>'message' AS message, value->>'detail' AS detail
        FROM jsonb_array_elements(v_answer->'notices') LOOP
        RAISE NOTICE USING MESSAGE = v_part.message, DETAIL = coalesce(v_part.detail, '');
    END LOOP;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER hand_over AFTER INSERT ON nowbridge.ticket
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION nowbridge.flush_writes();

-- Called by every table's collecting trigger when it has noted something.
CREATE FUNCTION nowbridge.open_ticket() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') = 'serializable' THEN
        RAISE EXCEPTION '[ServiceNow] Writes need READ COMMITTED or REPEATABLE READ.' USING ERRCODE = '0A000',
            HINT = 'A SERIALIZABLE transaction can fail after ServiceNow has accepted the write. Nothing was sent.';
    END IF;
    INSERT INTO nowbridge.ticket (xid, statement) VALUES (pg_current_xact_id(), current_query())
        ON CONFLICT (xid) DO NOTHING;
END $$;

-- Called for a row that has no partner of the same sys_id after an UPDATE.
CREATE FUNCTION nowbridge.changed_key() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '[ServiceNow] The sys_id of a record cannot be changed.' USING ERRCODE = '0A000';
END $$;

CREATE FUNCTION nowbridge.refuse_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '[ServiceNow] % cannot be truncated.', TG_TABLE_NAME USING ERRCODE = '0A000',
        HINT = 'DELETE the records that are to go.';
END $$;

-- Labels and stored values. Each of the three takes (new label, old label, new value, old value) and returns the label
-- and the value that belong together: whichever of the two was written decides, and both written must agree. A text
-- that is one entry's label and another's stored value is the label.

CREATE FUNCTION nowbridge.no_such_value(p_text text, p_column text, p_hint text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, nowbridge, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '[ServiceNow] Value `%` is not a valid value for `%`.', p_text, p_column
        USING ERRCODE = '23514', HINT = p_hint;
END $$;

CREATE FUNCTION nowbridge.settle_choice(
    p_connection integer, p_table text, p_column text, p_dependent text, p_name text,
    INOUT p_shown text, p_shown_before text, INOUT p_stored text, p_stored_before text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_written text := nullif(p_shown, '');
    v_by_label boolean := p_shown IS DISTINCT FROM p_shown_before;
    v_by_value boolean := p_stored IS DISTINCT FROM p_stored_before;
    v_value text;
    v_label text;
BEGIN
    IF NOT v_by_label AND NOT v_by_value THEN
        RETURN;
    ELSIF v_by_label AND v_written IS NULL AND (NOT v_by_value OR nullif(p_stored, '') IS NULL)
       OR NOT v_by_label AND nullif(p_stored, '') IS NULL THEN
        p_shown := NULL; p_stored := NULL;
        RETURN;
    END IF;
    SELECT c.value, c.label INTO v_value, v_label FROM nowbridge.choice c
     WHERE c.connection_id = p_connection AND c.table_name = p_table AND c.column_name = p_column
       AND (p_dependent IS NULL OR c.dependent IN ('', p_dependent))
       AND CASE WHEN v_by_label THEN v_written IN (c.label, c.value) ELSE c.value = p_stored END
     ORDER BY v_by_label AND c.label = v_written DESC, v_by_value AND c.value = p_stored DESC, c.dependent DESC LIMIT 1;
    IF v_value IS NULL AND NOT EXISTS (SELECT FROM nowbridge.choice c
       WHERE c.connection_id = p_connection AND c.table_name = p_table AND c.column_name = p_column) THEN
        p_stored := CASE WHEN v_by_value THEN p_stored ELSE v_written END; -- a list that the account may not read
        p_shown := CASE WHEN v_by_label THEN v_written ELSE p_stored END;
        RETURN;
    ELSIF v_value IS NULL THEN
        PERFORM nowbridge.no_such_value(CASE WHEN v_by_label THEN v_written ELSE p_stored END, p_name, (
            SELECT 'Valid are: ' || string_agg(label, ', ') FROM (
                SELECT DISTINCT c.label FROM nowbridge.choice c
                 WHERE c.connection_id = p_connection AND c.table_name = p_table AND c.column_name = p_column
                   AND (p_dependent IS NULL OR c.dependent IN ('', p_dependent)) ORDER BY 1 LIMIT 25) AS listed));
    ELSIF v_by_label AND v_by_value AND v_value IS DISTINCT FROM p_stored THEN
        RAISE EXCEPTION '[ServiceNow] `%` is `%` but `%__value` is `%`, which do not belong together.',
            p_name, v_written, p_name, p_stored USING ERRCODE = '22023', HINT = 'Write one of the two.';
    END IF;
    p_shown := v_label; p_stored := v_value;
END $$;

-- The record that a text names: by label, else by sys_id. A table whose labels are not all known is asked for by the
-- writer, which knows ServiceNow: a text of the form of a sys_id passes.
CREATE FUNCTION nowbridge.record_named(
    p_connection integer, p_table text, p_text text, p_name text, OUT p_key text, OUT p_label text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_found integer;
BEGIN
    SELECT count(*), min(l.key), min(l.label) INTO v_found, p_key, p_label
      FROM (SELECT key, label FROM nowbridge.label
             WHERE connection_id = p_connection AND table_name = p_table AND label = p_text LIMIT 2) AS l;
    IF v_found = 1 THEN
        RETURN;
    ELSIF v_found > 1 THEN
        RAISE EXCEPTION '[ServiceNow] Value `%` for `%` names more than one record of %.', p_text, p_name, p_table
            USING ERRCODE = '21000', HINT = format('Write the sys_id of the one that is meant into `%s__value`.', p_name);
    END IF;
    SELECT l.key, coalesce(l.label, l.key) INTO p_key, p_label FROM nowbridge.label l
     WHERE l.connection_id = p_connection AND l.table_name = p_table AND l.key = p_text;
    IF p_key IS NULL AND p_text ~ '^[0-9a-f]{32}$' THEN
        p_key := p_text; p_label := p_text;
    ELSIF p_key IS NULL THEN
        PERFORM nowbridge.no_such_value(p_text, p_name, format('No record of %s has that name or sys_id.', p_table));
    END IF;
END $$;

CREATE FUNCTION nowbridge.settle_reference(
    p_connection integer, p_table text, p_name text,
    INOUT p_shown text, p_shown_before text, INOUT p_stored text, p_stored_before text
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_by_label boolean := p_shown IS DISTINCT FROM p_shown_before;
    v_by_value boolean := p_stored IS DISTINCT FROM p_stored_before;
    v_named record;
BEGIN
    IF v_by_value AND nullif(p_stored, '') IS NOT NULL THEN
        SELECT * INTO v_named FROM nowbridge.record_named(p_connection, p_table, p_stored, p_name || '__value');
        IF v_named.p_key <> p_stored THEN
            PERFORM nowbridge.no_such_value(p_stored, p_name || '__value', 'It takes a sys_id; write names into ' || p_name || '.');
        ELSIF v_by_label AND p_shown IS DISTINCT FROM v_named.p_label AND p_shown IS DISTINCT FROM p_stored THEN
            RAISE EXCEPTION '[ServiceNow] `%` is `%` but `%__value` is `%`, which do not belong together.',
                p_name, p_shown, p_name, p_stored USING ERRCODE = '22023', HINT = 'Write one of the two.';
        END IF;
        p_shown := v_named.p_label;
    ELSIF v_by_label AND nullif(p_shown, '') IS NOT NULL THEN
        IF v_by_value THEN
            RAISE EXCEPTION '[ServiceNow] `%` is `%` but `%__value` is empty, which do not belong together.',
                p_name, p_shown, p_name USING ERRCODE = '22023', HINT = 'Write one of the two.';
        END IF;
        SELECT * INTO v_named FROM nowbridge.record_named(p_connection, p_table, p_shown, p_name);
        p_shown := v_named.p_label; p_stored := v_named.p_key;
    ELSIF v_by_label OR v_by_value THEN
        p_shown := NULL; p_stored := NULL;
    END IF;
END $$;

CREATE FUNCTION nowbridge.settle_list(
    p_connection integer, p_table text, p_name text,
    INOUT p_shown text[], p_shown_before text[], INOUT p_stored text[], p_stored_before text[]
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
DECLARE
    v_by_label boolean := p_shown IS DISTINCT FROM p_shown_before;
    v_by_value boolean := p_stored IS DISTINCT FROM p_stored_before;
    v_given text[] := CASE WHEN v_by_value THEN p_stored ELSE p_shown END;
    v_shown text[] := '{}';
    v_stored text[] := '{}';
    v_named record;
    v_text text;
BEGIN
    IF NOT v_by_label AND NOT v_by_value THEN
        RETURN;
    END IF;
    FOREACH v_text IN ARRAY coalesce(v_given, '{}') LOOP
        IF v_text LIKE '%@%' AND position(' ' IN v_text) = 0 AND NOT EXISTS ( -- lists take e-mail addresses as well
            SELECT FROM nowbridge.label WHERE connection_id = p_connection AND table_name = p_table AND label = v_text) THEN
            v_shown := v_shown || v_text; v_stored := v_stored || v_text;
            CONTINUE;
        END IF;
        SELECT * INTO v_named FROM nowbridge.record_named(p_connection, p_table, v_text, p_name);
        v_shown := v_shown || v_named.p_label; v_stored := v_stored || v_named.p_key;
    END LOOP;
    IF v_by_label AND v_by_value AND p_shown IS DISTINCT FROM v_shown THEN
        RAISE EXCEPTION '[ServiceNow] `%` and `%__value` do not belong together.', p_name, p_name
            USING ERRCODE = '22023', HINT = 'Write one of the two.';
    END IF;
    p_shown := nullif(v_shown, '{}'); p_stored := nullif(v_stored, '{}');
END $$;

-- What a statement would do in ServiceNow, without doing it. The statement runs and is rolled back; what it changed goes
-- to a writer, which plans and sends nothing.
CREATE FUNCTION nowbridge.pending_now() RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS $$
    SELECT jsonb_agg(jsonb_build_array(table_id, sys_id, operation, changes) ORDER BY seq)
      FROM nowbridge.pending WHERE xid = pg_current_xact_id()
$$;

CREATE FUNCTION nowbridge.plan_changes(p_statement text, p_changes jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, nowbridge, pg_temp AS
    'SELECT nowbridge.hand_over(''plan'', p_statement, p_changes)';

CREATE FUNCTION nowbridge.plan_write(statement text)
RETURNS TABLE (step integer, method text, path text, fields jsonb, refusal text)
LANGUAGE plpgsql AS $$
DECLARE
    v_before jsonb := nowbridge.pending_now();
    v_changes jsonb;
BEGIN
    IF v_before IS NOT NULL THEN
        RAISE EXCEPTION 'This transaction has written already; plan in one of its own.' USING ERRCODE = '25001';
    END IF;
    BEGIN
        EXECUTE statement;
        v_changes := nowbridge.pending_now();
        RAISE EXCEPTION USING ERRCODE = 'NB001';
    EXCEPTION WHEN SQLSTATE 'NB001' THEN
        NULL; -- what it did is undone
    END;
    IF v_changes IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT * FROM jsonb_to_recordset(nowbridge.plan_changes(statement, v_changes)->'steps')
        AS s(step integer, method text, path text, fields jsonb, refusal text);
END $$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA nowbridge FROM PUBLIC;
