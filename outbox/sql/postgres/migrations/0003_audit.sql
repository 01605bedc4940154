-- Leaves: outbox_audit.id
-- What people did to the outbox by hand, and more about relays for those who look after them.

-- Each row is written in the transaction of its effect, or before one in the broker. It grows by hand alone, so nothing purges it.
CREATE TABLE outbox_audit (
  id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  actor  text        NOT NULL,
  action text        NOT NULL,
  reason text        NOT NULL DEFAULT '',
  -- How it was chosen what to touch, as names and values; empty where by id.
  filter jsonb       NOT NULL DEFAULT '{}',
  -- How many messages were touched, and the ids of the first hundred.
  count  bigint      NOT NULL DEFAULT 0,
  ids    jsonb       NOT NULL DEFAULT '[]',

  CONSTRAINT outbox_audit_actor CHECK (actor <> ''),
  CONSTRAINT outbox_audit_action CHECK (action <> ''),
  CONSTRAINT outbox_audit_filter CHECK (jsonb_typeof(filter) = 'object'),
  CONSTRAINT outbox_audit_ids CHECK (jsonb_typeof(ids) = 'array')
);

ALTER TABLE outbox_relays
  -- Of the library that the relay runs; empty: of a relay that does not tell.
  ADD COLUMN version   text NOT NULL DEFAULT '',
  -- When it gave its last sign of life; NULL: it does not tell.
  ADD COLUMN signed_at timestamptz;

-- When the lease was taken from another relay, or from nobody; NULL: by a relay that does not tell.
ALTER TABLE outbox_leases ADD COLUMN taken_at timestamptz;

-- Whoever may write leases intervenes and publishes, and may write this table too.
DO $$
DECLARE
  granted record;
BEGIN
  FOR granted IN
    SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role, a.privilege_type AS privilege
    FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.oid = 'outbox_leases'::regclass AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
  LOOP
    EXECUTE format('GRANT %s ON outbox_audit TO %s', granted.privilege, granted.role);
  END LOOP;
END
$$;
