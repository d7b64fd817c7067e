-- Operation: tables that were paused, and what changed in how things stand.

ALTER TABLE nowbridge.replica_table
    ADD COLUMN paused_at timestamptz;       -- since when nobody is to work on it; NULL: work goes on

-- How each thing stood when it was last looked at: what makes a notice is a change of this.
CREATE TABLE nowbridge.condition (
    subject text NOT NULL,                  -- a table (schema.name) or a connection (its name)
    kind    text NOT NULL,                  -- loaded, failing, lag, values
    state   text NOT NULL,
    since   timestamptz NOT NULL,
    PRIMARY KEY (subject, kind)
);

-- One row per change of state, made in the transaction that notes the change; sending it is a matter of its own.
CREATE TABLE nowbridge.notice (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL,
    subject   text NOT NULL,
    kind      text NOT NULL,
    state     text NOT NULL,
    words     text NOT NULL,
    hint      text NOT NULL DEFAULT ''
);

-- Which notices are still to be sent by which channel. A row goes when it was delivered or given up.
CREATE TABLE nowbridge.notice_to_send (
    notice_id   bigint NOT NULL REFERENCES nowbridge.notice ON DELETE CASCADE,
    channel     text NOT NULL CHECK (channel IN ('webhook', 'mail')),
    tries       integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL,
    last_error  text,
    PRIMARY KEY (notice_id, channel)
);
