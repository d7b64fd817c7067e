-- The console: who may sign in to it, and what it must know of a connection.

CREATE TABLE nowbridge.account (
    name                text PRIMARY KEY,
    role                text NOT NULL CHECK (role IN ('super_admin', 'viewer')),
    password_hash       text NOT NULL,      -- Argon2id, with its salt and cost
    created_at          timestamptz NOT NULL,
    password_changed_at timestamptz NOT NULL
);

-- Who is signed in. The browser holds the key whose SHA-256 this is; who reads the table cannot take its place.
CREATE TABLE nowbridge.console_session (
    digest   bytea PRIMARY KEY,
    account  text NOT NULL REFERENCES nowbridge.account ON DELETE CASCADE,
    began_at timestamptz NOT NULL,
    ends_at  timestamptz NOT NULL,
    used_at  timestamptz NOT NULL
);

-- Sign-ins that failed lately, by the name that was typed, whether there is such an account or not.
CREATE TABLE nowbridge.sign_in_failure (
    name     text PRIMARY KEY,
    failures integer NOT NULL,
    last_at  timestamptz NOT NULL
);

-- Somebody is at the instance to allow a connection (OAuth authorization code). What was entered waits here, sealed.
CREATE TABLE nowbridge.consent (
    digest  bytea PRIMARY KEY,              -- SHA-256 of the `state` that goes to the instance and comes back
    session bytea NOT NULL REFERENCES nowbridge.console_session ON DELETE CASCADE,
    sealed  bytea NOT NULL,
    ends_at timestamptz NOT NULL
);

-- The refresh token of a connection that a person has allowed. It may change with every renewal, the connection does not.
CREATE TABLE nowbridge.refresh_token (
    connection_id integer PRIMARY KEY REFERENCES nowbridge.connection ON DELETE CASCADE,
    sealed        bytea NOT NULL,
    changed_at    timestamptz NOT NULL
);

ALTER TABLE nowbridge.connection
    ADD COLUMN declared_in text,            -- the configuration file that says how this connection is; NULL: none
    ADD COLUMN secret_changed_at timestamptz,
    ADD COLUMN tested jsonb,                -- how the last test went: {at, ok, cause, answered, hint, failed}
    DROP CONSTRAINT connection_auth_check,
    ADD CONSTRAINT connection_auth_check
        CHECK (auth IN ('basic', 'oauth_password', 'client_credentials', 'api_key', 'authorization_code'));
