-- Leaves: outbox_pauses.topic
-- What relays do not publish until somebody resumes it. They read the table with every read of messages: keep it tiny.
CREATE TABLE outbox_pauses (
  -- Empty: all topics.
  topic  text      PRIMARY KEY,
  since  timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
  actor  text      NOT NULL,
  reason text      NOT NULL,

  CONSTRAINT outbox_pauses_topic CHECK (octet_length(topic) <= 255),
  CONSTRAINT outbox_pauses_actor CHECK (actor <> ''),
  CONSTRAINT outbox_pauses_reason CHECK (reason <> '')
) WITHOUT ROWID;
