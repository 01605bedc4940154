-- Answers to orders that came with an Idempotency-Key.
--
-- A row is written in the transaction of its order. It refers to the order by
-- value alone, so that it answers even after the order has gone to an archive.
-- Rows may be deleted once no client asks again:
--   DELETE FROM idempotency_keys WHERE created_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', '-30 days')

CREATE TABLE idempotency_keys (
  key            text      PRIMARY KEY,
  -- SHA-256 of what was asked for.
  fingerprint    blob      NOT NULL,
  -- The answer.
  order_id       text      NOT NULL,
  event_id       text      NOT NULL,
  correlation_id text      NOT NULL,
  created_at     timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),

  CONSTRAINT idempotency_keys_key CHECK (length(CAST(key AS blob)) BETWEEN 1 AND 255),
  CONSTRAINT idempotency_keys_fingerprint CHECK (typeof(fingerprint) = 'blob' AND length(fingerprint) = 32),
  CONSTRAINT idempotency_keys_created_at CHECK (datetime(substr(created_at, 1, 19)) IS substr(created_at, 1, 19)
    AND substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]')
) WITHOUT ROWID;

-- Finding the old ones.
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
