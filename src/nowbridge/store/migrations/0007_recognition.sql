-- What an instance is known by, connections that are stopped, and what a configuration file may say of each.

ALTER TABLE nowbridge.connection
    ADD COLUMN stopped           jsonb,     -- why nobody works on it until somebody has looked: {reason, found, since}
    ADD COLUMN likeness          jsonb,     -- what the instance called itself when it was last known: {property: value}
    ADD COLUMN looked_at         timestamptz, -- when it was last known to be the same
    ADD COLUMN secret_expires_at timestamptz;
