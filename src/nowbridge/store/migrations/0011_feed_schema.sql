-- Two connections may replicate tables of one name into two schemas: the feed says which is meant.
ALTER TABLE public._sync_cdc ADD COLUMN schema_name text;
COMMENT ON COLUMN public._sync_cdc.schema_name IS
    'The schema of table_name; empty in entries from before 0011 where two schemas have a table of that name';
UPDATE public._sync_cdc c SET schema_name = t.schema_name
FROM (SELECT relation, min(schema_name) AS schema_name FROM nowbridge.replica_table GROUP BY relation HAVING count(*) = 1) t
WHERE t.relation = c.table_name;

CREATE OR REPLACE VIEW public._sync_deleted AS
    SELECT t.relation AS table_name, d.sys_id, d.deleted_at, d.source, d.record, t.schema_name
    FROM nowbridge.tombstone d JOIN nowbridge.replica_table t ON t.id = d.table_id WHERE d.record IS NOT NULL;
