-- Leaves: processed_events.event_id
-- The inbox of one service: what it has applied, so that a second copy changes nothing.
--
-- Times are UTC text with six digits of a second, which sorts as it should: 2006-01-02 15:04:05.000000.

CREATE TABLE processed_events (
  consumer     text      NOT NULL,
  event_id     text      NOT NULL,
  topic        text      NOT NULL DEFAULT '',
  -- SHA-256 of the body: the same id with another body is a conflict, never applied.
  payload_hash blob      NOT NULL,
  correlation_id text    NOT NULL DEFAULT '',
  occurred_at  timestamp,
  processed_at timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),

  -- The consumer is part of the key: two consumers of one table must not starve one another.
  PRIMARY KEY (consumer, event_id),
  CONSTRAINT processed_events_consumer CHECK (octet_length(consumer) BETWEEN 1 AND 255),
  CONSTRAINT processed_events_event_id CHECK (octet_length(event_id) BETWEEN 1 AND 255),
  CONSTRAINT processed_events_payload_hash CHECK (typeof(payload_hash) = 'blob' AND length(payload_hash) = 32),
  -- What is no time, or one in another form, would neither compare nor be read.
  CONSTRAINT processed_events_occurred_at CHECK (datetime(substr(occurred_at, 1, 19)) IS substr(occurred_at, 1, 19)
    AND substr(occurred_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'),
  CONSTRAINT processed_events_processed_at CHECK (datetime(substr(processed_at, 1, 19)) IS substr(processed_at, 1, 19)
    AND substr(processed_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]')
) WITHOUT ROWID; -- rows are small and found by their key: one tree instead of two

-- The purge, and the newest first for those who look. It ends with the key, and so sorts by event id as well.
CREATE INDEX processed_events_processed_at ON processed_events (consumer, processed_at);

-- Starts of deliveries that came again: a message that takes the process down each time shows here.
CREATE TABLE inbox_attempts (
  consumer   text      NOT NULL,
  event_id   text      NOT NULL,
  started    integer   NOT NULL DEFAULT 0,
  started_at timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  PRIMARY KEY (consumer, event_id),
  CONSTRAINT inbox_attempts_started_at CHECK (datetime(substr(started_at, 1, 19)) IS substr(started_at, 1, 19)
    AND substr(started_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]')
) WITHOUT ROWID;
