-- One write at a time has a record. ServiceNow cannot lock one, and the rows' own locks end with the client's transaction,
-- while its write may still be on the way or has to be taken back. So a write holds its records from when it is taken until
-- it is settled, or its transaction is committed; the next one waits, as for a row's lock, and looks at them only then.

CREATE TABLE nowbridge.write_hold (
    connection_id integer NOT NULL,
    sys_id        text COLLATE "C" NOT NULL,
    write_id      bigint NOT NULL,          -- in the write log; no foreign key, whose check would cost more than the row
    PRIMARY KEY (connection_id, sys_id)
);
CREATE INDEX write_hold_of_write ON nowbridge.write_hold (write_id);

-- Whether a write keeps that of transaction `p_xid` waiting. One that is not in sight is newer than this statement: it does.
CREATE FUNCTION nowbridge.keeps_waiting(p_id bigint, p_xid xid8) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, nowbridge, pg_temp AS $$
    SELECT NOT EXISTS (SELECT FROM nowbridge.write_log w WHERE w.id = p_id AND (
        w.settled IS NOT NULL OR w.state IN ('refused', 'abandoned') OR w.client_xid = p_xid
        OR w.state = 'done' AND (w.client_xid IS NULL OR pg_xact_status(w.client_xid) = 'committed'
            AND EXISTS (SELECT FROM nowbridge.write_marker m WHERE m.write_id = p_id))))
$$;
REVOKE EXECUTE ON FUNCTION nowbridge.keeps_waiting FROM PUBLIC;

INSERT INTO nowbridge.write_hold
SELECT DISTINCT ON (w.connection_id, c->>1) w.connection_id, c->>1, w.id
  FROM nowbridge.write_log w, jsonb_array_elements(w.changes) c
 WHERE w.mode <> 'plan' AND w.settled IS NULL AND w.state IN ('taken', 'sent', 'unknown', 'done')
 ORDER BY w.connection_id, c->>1, w.id DESC;
