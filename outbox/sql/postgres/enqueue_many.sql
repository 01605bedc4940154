-- Stores any number of messages; seq follows their order in the document. What enqueue.sql says holds here too.
-- $1 JSON array of messages, $2 their payloads, one after the other: JSON would hold bytes in twice the size.
INSERT INTO pulse.outbox_messages
  (id, topic, type, key, payload, content_type, headers, correlation_id, causation_id, occurred_at, available_at)
SELECT m.id, m.topic, m.type, m.key, substring($2::bytea, m."from", m.size), m.content_type, m.headers,
       m.correlation_id, m.causation_id,
       coalesce(m.occurred_at, clock_timestamp()), coalesce(m.available_at, statement_timestamp())
FROM json_to_recordset($1::text::json)
  AS m (id uuid, topic text, type text, key text, "from" int4, size int4,
        content_type text, headers jsonb, correlation_id text, causation_id text,
        occurred_at timestamptz, available_at timestamptz)
