-- Group roles of the outbox, as its owner, after its tables are there. Grant one to
-- a login: GRANT PREFIX_relay TO shop_relay;
DO $$
DECLARE name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['PREFIX_producer', 'PREFIX_relay', 'PREFIX_operator', 'PREFIX_readonly'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA SCHEMA_NAME TO %I', name);
    EXECUTE format('GRANT SELECT ON SCHEMA_NAME.outbox_schema TO %I', name); -- CheckSchema
  END LOOP;
END $$;

-- A service that enqueues. The relay's columns are out of its reach, and so is what
-- others have written.
GRANT INSERT (id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at)
  ON SCHEMA_NAME.outbox_messages TO PREFIX_producer;

-- A relay, as pulsectl relay run.
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA_NAME.outbox_messages, SCHEMA_NAME.outbox_leases, SCHEMA_NAME.outbox_relays TO PREFIX_relay;
GRANT SELECT ON SCHEMA_NAME.outbox_pauses TO PREFIX_relay;

-- A person who retries, discards, purges, pauses and replays. Records of that cannot
-- be changed.
GRANT SELECT, UPDATE, DELETE ON SCHEMA_NAME.outbox_messages TO PREFIX_operator;
GRANT SELECT, UPDATE ON SCHEMA_NAME.outbox_leases TO PREFIX_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA_NAME.outbox_pauses TO PREFIX_operator;
GRANT SELECT, INSERT ON SCHEMA_NAME.outbox_audit TO PREFIX_operator;
GRANT SELECT ON SCHEMA_NAME.outbox_relays TO PREFIX_operator;

-- Who only looks: status, doctor, top, check, verify, outbox ls.
GRANT SELECT ON SCHEMA_NAME.outbox_messages, SCHEMA_NAME.outbox_leases, SCHEMA_NAME.outbox_relays, SCHEMA_NAME.outbox_pauses, SCHEMA_NAME.outbox_audit TO PREFIX_readonly;
