-- Claims messages for a consumer and returns the event ids that were new, in one row each. The transaction has the
-- database to itself for writing, so nobody else can be about to claim one. Sorted, as the rows will lie in the table.
-- ?1 consumer, ?2 JSON array of messages, no id twice.
INSERT INTO pulse.processed_events (consumer, event_id, topic, type, payload_hash, correlation_id, occurred_at)
SELECT ?1, value ->> 'event_id', value ->> 'topic', value ->> 'type', unhex(value ->> 'payload_hash'), value ->> 'correlation_id',
  value ->> 'occurred_at'
FROM json_each(?2)
WHERE true -- tells the ON of the conflict from that of a join
ORDER BY value ->> 'event_id'
ON CONFLICT (consumer, event_id) DO NOTHING
RETURNING event_id
