-- What was applied under the given event ids: one probe of the primary key for each, as CROSS JOIN keeps the order
-- of the tables.
-- ?1 consumer, ?2 JSON array of event ids, none twice.
SELECT p.event_id, p.topic, coalesce(p.type, '') AS type, lower(hex(p.payload_hash)) AS payload_hash
FROM json_each(?2) AS wanted
CROSS JOIN pulse.processed_events AS p ON p.consumer = ?1 AND p.event_id = wanted.value
