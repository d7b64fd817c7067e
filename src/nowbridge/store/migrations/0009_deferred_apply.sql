-- A row that a SQL client holds is not written by the applier: the change is noted here, in the transaction that moves
-- the cursor past it, as a hint to read the record back. Unlike other hints this one is the only trace of the change,
-- so it is never given up and outlasts a pause of its table.
ALTER TABLE nowbridge.hint ADD COLUMN deferred boolean NOT NULL DEFAULT false;
