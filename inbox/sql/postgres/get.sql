-- One applied event, by the primary key.
-- $1 consumer, $2 event id.
SELECT event_id, topic, payload_hash, correlation_id, occurred_at, processed_at
FROM pulse.processed_events
WHERE consumer = $1 AND event_id = $2
