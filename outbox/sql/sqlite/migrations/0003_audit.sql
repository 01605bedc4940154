-- Leaves: outbox_audit.id
-- What people did to the outbox by hand, and more about relays for those who look after them.

-- Each row is written in the transaction of its effect, or before one in the broker. It grows by hand alone, so nothing purges it.
CREATE TABLE outbox_audit (
  id     integer   PRIMARY KEY AUTOINCREMENT,
  at     timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  actor  text      NOT NULL,
  action text      NOT NULL,
  reason text      NOT NULL DEFAULT '',
  -- How it was chosen what to touch, as names and values; empty where by id.
  filter text      NOT NULL DEFAULT '{}',
  -- How many messages were touched, and the ids of the first hundred.
  count  bigint    NOT NULL DEFAULT 0,
  ids    text      NOT NULL DEFAULT '[]',

  CONSTRAINT outbox_audit_actor CHECK (actor <> ''),
  CONSTRAINT outbox_audit_action CHECK (action <> ''),
  CONSTRAINT outbox_audit_filter CHECK (json_valid(filter) AND json_type(filter) = 'object'),
  CONSTRAINT outbox_audit_ids CHECK (json_valid(ids) AND json_type(ids) = 'array')
);

-- Of the library that the relay runs; empty: of a relay that does not tell.
ALTER TABLE outbox_relays ADD COLUMN version text NOT NULL DEFAULT '';
-- When it gave its last sign of life; NULL: it does not tell.
ALTER TABLE outbox_relays ADD COLUMN signed_at timestamp;

-- When the lease was taken from another relay, or from nobody; NULL: by a relay that does not tell.
ALTER TABLE outbox_leases ADD COLUMN taken_at timestamp;
