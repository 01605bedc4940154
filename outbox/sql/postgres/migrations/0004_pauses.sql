-- Leaves: outbox_pauses.topic
-- What relays do not publish until somebody resumes it. They read the table with every read of messages: keep it tiny.
CREATE TABLE outbox_pauses (
  -- Empty: all topics.
  topic  text        PRIMARY KEY,
  since  timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor  text        NOT NULL,
  reason text        NOT NULL,

  CONSTRAINT outbox_pauses_topic CHECK (octet_length(topic) <= 255),
  CONSTRAINT outbox_pauses_actor CHECK (actor <> ''),
  CONSTRAINT outbox_pauses_reason CHECK (reason <> '')
);

-- Relays need to read it: whoever may use leases may use this table.
DO $$
DECLARE
  granted record;
BEGIN
  FOR granted IN
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role, a.privilege_type AS privilege
    FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.oid = 'outbox_leases'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  LOOP
    EXECUTE format('GRANT %s ON outbox_pauses TO %s', granted.privilege, granted.role);
  END LOOP;
END
$$;
