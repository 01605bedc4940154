-- Leaves: processed_events.event_id
-- The inbox of one service: what it has applied, so that a second copy changes nothing.

CREATE TABLE processed_events (
  consumer     text        NOT NULL,
  event_id     text        NOT NULL,
  topic        text        NOT NULL DEFAULT '',
  -- SHA-256 of the body: the same id with another body is a conflict, never applied.
  payload_hash bytea       NOT NULL,
  correlation_id text      NOT NULL DEFAULT '',
  occurred_at  timestamptz,
  processed_at timestamptz NOT NULL DEFAULT clock_timestamp(),

  -- The consumer is part of the key: two consumers of one table must not starve one another.
  PRIMARY KEY (consumer, event_id),
  CONSTRAINT processed_events_consumer CHECK (octet_length(consumer) BETWEEN 1 AND 255),
  CONSTRAINT processed_events_event_id CHECK (octet_length(event_id) BETWEEN 1 AND 255),
  CONSTRAINT processed_events_payload_hash CHECK (octet_length(payload_hash) = 32)
);

-- The purge, and the newest first for those who look.
CREATE INDEX processed_events_processed_at ON processed_events (consumer, processed_at);

-- Starts of deliveries that came again: a message that takes the process down each time shows here.
CREATE TABLE inbox_attempts (
  consumer   text        NOT NULL,
  event_id   text        NOT NULL,
  started    integer     NOT NULL DEFAULT 0,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (consumer, event_id)
);
