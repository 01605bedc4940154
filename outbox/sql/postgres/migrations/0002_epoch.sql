-- Leaves: outbox_leases.producer
-- What relays need to notice that the database has gone back or is another one, that its clock was set back, or that
-- the outbox is another service's.

-- When available_at was last set by a backoff, or by hand. Where the clock shows less, it was set back meanwhile, and that
-- moment means nothing.
ALTER TABLE outbox_messages ADD COLUMN rescheduled_at timestamptz;

ALTER TABLE outbox_leases
  -- For how long, in milliseconds, the owner takes its leases. Who sees one stay as it is for that long may take it,
  -- whatever the clocks say.
  ADD COLUMN ttl      bigint NOT NULL DEFAULT 20000,
  -- In the row of bucket 0: the service whose outbox this is, by the name its relays publish under.
  ADD COLUMN producer text   NOT NULL DEFAULT '',
  -- Beside it: that service has published. A claim without that gives way where another service makes one too.
  ADD COLUMN proven boolean NOT NULL DEFAULT false;

ALTER TABLE outbox_relays
  ADD COLUMN ttl  bigint NOT NULL DEFAULT 20000,
  -- A random number, another with each sign of life. A relay that finds one which it has not left there last knows
  -- that the database is not the one it was, or not as far.
  ADD COLUMN sign bigint NOT NULL DEFAULT 0,
  -- The service it publishes for.
  ADD COLUMN producer text NOT NULL DEFAULT '';

-- Buckets by SHA-256, as a server in FIPS mode has no MD5. A table that holds messages keeps its function: a key's
-- messages must not be spread over two buckets, nor a large table be rewritten.
LOCK TABLE outbox_messages IN ACCESS EXCLUSIVE MODE;
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM outbox_messages) THEN
    ALTER TABLE outbox_messages DROP COLUMN bucket;
    ALTER TABLE outbox_messages ADD COLUMN bucket smallint NOT NULL GENERATED ALWAYS AS
      (get_byte(sha256(replace(CASE WHEN key = '' THEN id::text ELSE key END, E'\\', E'\\\\')::bytea), 0) % 64) STORED;
    CREATE INDEX outbox_messages_pending ON outbox_messages (bucket, seq) WHERE status = 'pending';
    -- Again behind it: of two indexes that cost the same, as on an empty table, the planner takes the later one.
    DROP INDEX outbox_messages_due;
    CREATE INDEX outbox_messages_due ON outbox_messages (available_at)
      WHERE status = 'pending' AND (attempts > 0 OR available_at > created_at);
  END IF;
END
$$;
