-- Group roles of the inbox, as its owner, after its tables are there. A consumer also
-- needs what its handlers write.
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['PREFIX_consumer', 'PREFIX_operator', 'PREFIX_readonly'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA SCHEMA_NAME TO %I', name);
    EXECUTE format('GRANT SELECT ON SCHEMA_NAME.inbox_schema TO %I', name); -- CheckSchema
  END LOOP;
END $$;

-- A consumer. What it has applied is never changed, and deleted when it is too old,
-- for which rows are locked: that takes UPDATE on some column.
GRANT SELECT, INSERT, DELETE, UPDATE (correlation_id) ON SCHEMA_NAME.processed_events TO PREFIX_consumer;
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA_NAME.inbox_attempts, SCHEMA_NAME.inbox_instances TO PREFIX_consumer;

-- A person who purges.
GRANT SELECT, DELETE, UPDATE (correlation_id) ON SCHEMA_NAME.processed_events TO PREFIX_operator;
GRANT SELECT, DELETE ON SCHEMA_NAME.inbox_attempts TO PREFIX_operator;
GRANT SELECT ON SCHEMA_NAME.inbox_instances TO PREFIX_operator;

-- Who only looks.
GRANT SELECT ON SCHEMA_NAME.processed_events, SCHEMA_NAME.inbox_attempts, SCHEMA_NAME.inbox_instances TO PREFIX_readonly;
