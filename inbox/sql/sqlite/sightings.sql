-- What each consumer that shares the table has applied under an event id: one probe of the primary key for its name, and
-- one for the event.
-- ?1 event id.
WITH RECURSIVE names (consumer) AS (
  SELECT min(consumer) FROM pulse.processed_events
  UNION ALL
  SELECT (SELECT min(consumer) FROM pulse.processed_events WHERE consumer > names.consumer)
  FROM names WHERE names.consumer IS NOT NULL
)
SELECT names.consumer, p.event_id, p.topic, p.payload_hash, p.correlation_id, p.occurred_at, p.processed_at
FROM names
CROSS JOIN pulse.processed_events AS p ON p.consumer = names.consumer AND p.event_id = ?1
ORDER BY names.consumer
