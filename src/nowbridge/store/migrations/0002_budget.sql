-- The requests that may be in flight to one instance, shared by all workers. One row per instance, locked for the
-- moment of an exchange (store.work.budget). Times are this database's own, as workers' clocks may differ.
CREATE TABLE nowbridge.budget (
    url          text PRIMARY KEY,
    allowed      integer NOT NULL CHECK (allowed >= 1), -- in flight, as answers have shown to be good
    most         integer NOT NULL CHECK (most >= allowed),
    calm         integer NOT NULL DEFAULT 0,
    narrowed_at  timestamptz,               -- the last time that an answer took something off
    closed_until timestamptz,               -- the instance said to come back then
    saved        double precision,          -- requests of the hour that are saved up; NULL: no limit per hour
    saved_at     timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What one worker holds of it. A claim that is not renewed is void at lease_until, and its share is free again.
CREATE TABLE nowbridge.budget_claim (
    url         text NOT NULL REFERENCES nowbridge.budget ON DELETE CASCADE,
    holder      text NOT NULL,
    granted     integer NOT NULL,
    in_flight   integer NOT NULL,
    most        integer NOT NULL,           -- the setting of this worker; the lowest of those alive holds for all
    wants       jsonb NOT NULL,             -- [[purpose, age in seconds at claimed_at], ...]
    claimed_at  timestamptz NOT NULL,
    held_since  timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (url, holder)
);

-- Calls by hour, for what a table costs. `subject` is the table in the path, or the path itself.
CREATE TABLE nowbridge.call_tally (
    url      text NOT NULL,
    hour     timestamptz NOT NULL,
    subject  text NOT NULL,
    purpose  text NOT NULL,
    calls    bigint NOT NULL,
    failures bigint NOT NULL,
    refused  bigint NOT NULL,
    seconds  double precision NOT NULL,
    PRIMARY KEY (url, hour, subject, purpose)
);
