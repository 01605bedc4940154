-- Leaves: outbox_messages.seq
-- The outbox of one service: messages written in the transaction of the change they tell of.

CREATE TABLE outbox_messages (
  -- Order inside one key. Assigned at insert: a producer that holds its aggregate's row lock gets commit order.
  seq            bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- The event id that every copy of the message carries.
  id             uuid        NOT NULL DEFAULT gen_random_uuid(),
  topic          text        NOT NULL,
  type           text        NOT NULL,
  key            text        NOT NULL DEFAULT '',
  payload        bytea       NOT NULL,
  content_type   text        NOT NULL DEFAULT 'application/json',
  headers        jsonb       NOT NULL DEFAULT '{}',
  correlation_id text        NOT NULL DEFAULT '',
  causation_id   text        NOT NULL DEFAULT '',
  -- Unit of leasing. Generated, so that producers in plain SQL need not know the function.
  bucket         smallint    NOT NULL GENERATED ALWAYS AS
                   (get_byte(decode(md5(CASE WHEN key = '' THEN id::text ELSE key END), 'hex'), 0) % 64) STORED,
  status         text        NOT NULL DEFAULT 'pending',
  -- Failures reported by broker or publisher. Outages are none.
  attempts       integer     NOT NULL DEFAULT 0,
  occurred_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When it may go out (again): the producer's delay, later the relay's backoff. The statement's
  -- start is never after created_at, which keeps rows due at once out of outbox_messages_due.
  available_at   timestamptz NOT NULL DEFAULT statement_timestamp(),
  published_at   timestamptz,
  discarded_at   timestamptz,
  last_error     text        NOT NULL DEFAULT '',

  CONSTRAINT outbox_messages_id_key UNIQUE (id),
  CONSTRAINT outbox_messages_status CHECK (status IN ('pending', 'published', 'dead', 'discarded')),
  CONSTRAINT outbox_messages_published CHECK ((status = 'published') = (published_at IS NOT NULL)),
  CONSTRAINT outbox_messages_discarded CHECK ((status = 'discarded') = (discarded_at IS NOT NULL)),
  CONSTRAINT outbox_messages_attempts CHECK (attempts >= 0),
  -- A dead row holds back its key, and that is told by its attempts.
  CONSTRAINT outbox_messages_dead CHECK (status <> 'dead' OR attempts > 0),
  CONSTRAINT outbox_messages_created CHECK (isfinite(created_at)),
  -- What AMQP holds in a short string.
  CONSTRAINT outbox_messages_topic CHECK (octet_length(topic) BETWEEN 1 AND 255),
  CONSTRAINT outbox_messages_type CHECK (octet_length(type) BETWEEN 1 AND 255),
  CONSTRAINT outbox_messages_key CHECK (octet_length(key) <= 255),
  CONSTRAINT outbox_messages_content_type CHECK (octet_length(content_type) <= 255),
  CONSTRAINT outbox_messages_correlation_id CHECK (octet_length(correlation_id) <= 255),
  CONSTRAINT outbox_messages_causation_id CHECK (octet_length(causation_id) <= 255),
  CONSTRAINT outbox_messages_headers CHECK (jsonb_typeof(headers) = 'object')
);

-- The relay's read: pending rows of one bucket in order. Narrow, and empty when all is published.
CREATE INDEX outbox_messages_pending ON outbox_messages (bucket, seq) WHERE status = 'pending';

-- Failed heads that hold back the later rows of their key.
CREATE INDEX outbox_messages_blocking ON outbox_messages (key, seq)
  WHERE status IN ('pending', 'dead') AND attempts > 0 AND key <> '';

-- Rows that wait for a moment: retries and delays.
CREATE INDEX outbox_messages_due ON outbox_messages (available_at)
  WHERE status = 'pending' AND (attempts > 0 OR available_at > created_at);

-- The dead, for those who look after them.
CREATE INDEX outbox_messages_dead ON outbox_messages (seq) WHERE status = 'dead';
CREATE INDEX outbox_messages_set_aside ON outbox_messages (seq) WHERE status = 'discarded';

-- Rows of a span of time. BRIN, because the table is written in the order of its clock: a B-tree would cost
-- every message two entries. For the same reason nothing else that people filter by has an index.
CREATE INDEX outbox_messages_created ON outbox_messages USING brin (created_at) WITH (pages_per_range = 32, autosummarize = on);

-- A queue table turns over: vacuum by count of dead rows, not by a share of a table that keeps history.
ALTER TABLE outbox_messages SET (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 50000,
  autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0
);

-- Who may publish which bucket. The token is new at each take-over and fences the write-back.
CREATE TABLE outbox_leases (
  bucket        smallint    PRIMARY KEY CHECK (bucket BETWEEN 0 AND 63),
  owner         text        NOT NULL DEFAULT '',
  token         bigint      NOT NULL DEFAULT 0,
  expires_at    timestamptz NOT NULL DEFAULT '-infinity',
  -- Grows with each retry or discard by hand in this bucket. Rows that were held back behind a relay's cursor
  -- may be free then: a relay that reads another number than before reads its bucket from the beginning, or a
  -- later row of the key would overtake them.
  interventions bigint      NOT NULL DEFAULT 0
);
INSERT INTO outbox_leases (bucket) SELECT generate_series(0, 63);

-- Relays that are alive, with or without a lease: the count that fair shares are made of.
CREATE TABLE outbox_relays (
  owner      text        PRIMARY KEY,
  host       text        NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL
);
