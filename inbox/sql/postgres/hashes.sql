-- What was applied under the given event ids: one probe of the primary key for each.
-- $1 consumer, $2 JSON array of event ids, none twice.
SELECT p.event_id, p.payload_hash
FROM json_array_elements_text($2::text::json) AS wanted (event_id)
CROSS JOIN LATERAL (
  SELECT event_id, payload_hash FROM processed_events
  WHERE consumer = $1 AND event_id = wanted.event_id
  LIMIT 1 -- keeps the probe a probe: without it a join by hash may read the whole table
) AS p
