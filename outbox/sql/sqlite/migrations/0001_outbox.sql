-- Leaves: outbox_messages.seq
-- The outbox of one service: messages written in the transaction of the change they tell of.
--
-- Times are UTC text with six digits of a second, which sorts as it should: 2006-01-02 15:04:05.000000.

CREATE TABLE outbox_messages (
  -- Order inside one key, and the order of commits, as one writes at a time. AUTOINCREMENT, or numbers
  -- come again when the table is empty.
  seq            integer   PRIMARY KEY AUTOINCREMENT,
  -- The event id that every copy of the message carries, in its lower-case form.
  id             text      NOT NULL DEFAULT (lower(
                   hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) || '-'
                   || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6)))),
  topic          text      NOT NULL,
  type           text      NOT NULL,
  key            text      NOT NULL DEFAULT '',
  content_type   text      NOT NULL DEFAULT 'application/json',
  headers        text      NOT NULL DEFAULT '{}',
  correlation_id text      NOT NULL DEFAULT '',
  causation_id   text      NOT NULL DEFAULT '',
  -- Unit of leasing: the first byte of the MD5 of the key, or of the id where there is no key, modulo 64. SQLite
  -- has no MD5, so a producer in plain SQL has to compute it; without a key any will do.
  bucket         smallint  NOT NULL,
  status         text      NOT NULL DEFAULT 'pending',
  -- Failures reported by broker or publisher. Outages are none.
  attempts       integer   NOT NULL DEFAULT 0,
  occurred_at    timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  created_at     timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  -- When it may go out (again): the producer's delay, later the relay's backoff. By default it is created_at,
  -- as the clock stands still within a statement, which keeps rows due at once out of outbox_messages_due.
  available_at   timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  published_at   timestamp,
  discarded_at   timestamp,
  last_error     text      NOT NULL DEFAULT '',
  -- Last, so that reading the others needs none of the pages a large one fills.
  payload        blob      NOT NULL,

  CONSTRAINT outbox_messages_id_key UNIQUE (id),
  CONSTRAINT outbox_messages_id CHECK (id GLOB '????????-????-????-????-????????????'
    AND length(replace(id, '-', '')) = 32 AND id NOT GLOB '*[^0-9a-f-]*'),
  CONSTRAINT outbox_messages_bucket CHECK (typeof(bucket) = 'integer' AND bucket BETWEEN 0 AND 63),
  CONSTRAINT outbox_messages_status CHECK (status IN ('pending', 'published', 'dead', 'discarded')),
  CONSTRAINT outbox_messages_published CHECK ((status = 'published') = (published_at IS NOT NULL)),
  CONSTRAINT outbox_messages_discarded CHECK ((status = 'discarded') = (discarded_at IS NOT NULL)),
  CONSTRAINT outbox_messages_attempts CHECK (typeof(attempts) = 'integer' AND attempts >= 0),
  -- A dead row holds back its key, and that is told by its attempts.
  CONSTRAINT outbox_messages_dead CHECK (status <> 'dead' OR attempts > 0),
  -- What is no time, or one in another form, would neither compare nor be read.
  CONSTRAINT outbox_messages_occurred_at CHECK (datetime(substr(occurred_at, 1, 19)) IS substr(occurred_at, 1, 19)
    AND substr(occurred_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'),
  CONSTRAINT outbox_messages_created_at CHECK (datetime(substr(created_at, 1, 19)) IS substr(created_at, 1, 19)
    AND substr(created_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'),
  CONSTRAINT outbox_messages_available_at CHECK (datetime(substr(available_at, 1, 19)) IS substr(available_at, 1, 19)
    AND substr(available_at, 20) GLOB '.[0-9][0-9][0-9][0-9][0-9][0-9]'),
  -- What AMQP holds in a short string.
  CONSTRAINT outbox_messages_topic CHECK (octet_length(topic) BETWEEN 1 AND 255),
  CONSTRAINT outbox_messages_type CHECK (octet_length(type) BETWEEN 1 AND 255),
  CONSTRAINT outbox_messages_key CHECK (octet_length(key) <= 255),
  CONSTRAINT outbox_messages_content_type CHECK (octet_length(content_type) <= 255),
  CONSTRAINT outbox_messages_correlation_id CHECK (octet_length(correlation_id) <= 255),
  CONSTRAINT outbox_messages_causation_id CHECK (octet_length(causation_id) <= 255),
  CONSTRAINT outbox_messages_headers CHECK (json_valid(headers) AND json_type(headers) = 'object')
);

-- The relay's read: pending rows of one bucket in order. Narrow, and empty when all is published.
CREATE INDEX outbox_messages_pending ON outbox_messages (bucket, seq) WHERE status = 'pending';

-- Failed heads that hold back the later rows of their key.
CREATE INDEX outbox_messages_blocking ON outbox_messages (key, seq)
  WHERE status IN ('pending', 'dead') AND attempts > 0 AND key <> '';

-- Rows that wait for a moment: retries and delays.
CREATE INDEX outbox_messages_due ON outbox_messages (available_at)
  WHERE status = 'pending' AND (attempts > 0 OR available_at > created_at);

-- What is not published, for those who look after it; attempts tells the retried among the pending. A condition
-- on one state implies OR, but not IN, to the planner.
CREATE INDEX outbox_messages_open ON outbox_messages (status, seq, attempts)
  WHERE status = 'pending' OR status = 'dead' OR status = 'discarded';

-- Rows of a span of time. Nothing else that people filter by has an index: each would cost every message.
CREATE INDEX outbox_messages_created ON outbox_messages (created_at);

-- Who may publish which bucket. The token is new at each take-over and fences the write-back.
CREATE TABLE outbox_leases (
  bucket        integer   PRIMARY KEY CHECK (bucket BETWEEN 0 AND 63),
  owner         text      NOT NULL DEFAULT '',
  token         bigint    NOT NULL DEFAULT 0,
  expires_at    timestamp NOT NULL DEFAULT '0001-01-01 00:00:00.000000',
  -- Grows with each retry or discard by hand in this bucket. Rows that were held back behind a relay's cursor
  -- may be free then: a relay that reads another number than before reads its bucket from the beginning, or a
  -- later row of the key would overtake them.
  interventions bigint    NOT NULL DEFAULT 0
);
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 63)
INSERT INTO outbox_leases (bucket) SELECT n FROM numbers;

-- Relays that are alive, with or without a lease: the count that fair shares are made of.
CREATE TABLE outbox_relays (
  owner      text      PRIMARY KEY,
  host       text      NOT NULL,
  started_at timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  expires_at timestamp NOT NULL
);
