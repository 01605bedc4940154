-- Claims messages for a consumer and returns the event ids that were new. A row that another transaction is
-- about to claim is waited for. Sorted, so that transactions with the same ids take their locks in one order:
-- unsorted ones deadlock.
-- $1 consumer, $2 JSON array of messages, no id twice.
INSERT INTO processed_events (consumer, event_id, topic, payload_hash, correlation_id, occurred_at)
SELECT $1, m.event_id, m.topic, decode(m.payload_hash, 'hex'), m.correlation_id, m.occurred_at
FROM json_to_recordset($2::text::json)
  AS m (event_id text, topic text, payload_hash text, correlation_id text, occurred_at timestamptz)
ORDER BY m.event_id COLLATE "C"
ON CONFLICT (consumer, event_id) DO NOTHING
RETURNING event_id
