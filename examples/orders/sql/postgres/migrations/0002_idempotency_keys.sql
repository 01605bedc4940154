-- Answers to orders that came with an Idempotency-Key.
--
-- A row is written in the transaction of its order, before the order: the
-- primary key makes a second request wait for the first one's end. It refers
-- to the order by value alone, so that it answers even after the order has
-- gone to an archive. Rows may be deleted once no client asks again:
--   DELETE FROM idempotency_keys WHERE created_at < now() - interval '30 days'

CREATE TABLE idempotency_keys (
  key            text        PRIMARY KEY,
  -- SHA-256 of what was asked for.
  fingerprint    bytea       NOT NULL,
  -- The answer.
  order_id       uuid        NOT NULL,
  event_id       uuid        NOT NULL,
  correlation_id text        NOT NULL,
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),

  CONSTRAINT idempotency_keys_key CHECK (octet_length(key) BETWEEN 1 AND 255),
  CONSTRAINT idempotency_keys_fingerprint CHECK (octet_length(fingerprint) = 32)
);

-- Finding the old ones.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
