-- What was applied under the given event ids: one probe of the primary key for each. The hash is text, as the form of
-- bytes is a setting of the session.
-- $1 consumer, $2 JSON array of event ids, none twice.
SELECT p.event_id, p.topic, p.type, p.payload_hash
FROM pg_catalog.json_array_elements_text($2::pg_catalog.text::pg_catalog.json) AS wanted (event_id)
CROSS JOIN LATERAL (
  SELECT event_id, topic, coalesce(type, '') AS type, pg_catalog.encode(payload_hash, 'hex') AS payload_hash
  FROM pulse.processed_events
  WHERE consumer = $1 AND event_id = wanted.event_id
  LIMIT 1 -- keeps the probe a probe: without it a join by hash may read the whole table
) AS p
