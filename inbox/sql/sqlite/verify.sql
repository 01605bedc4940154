-- How many of the claims are still there.
-- ?1 consumer, ?2 JSON array of event ids, none twice.
SELECT count(*)
FROM json_each(?2) AS wanted
CROSS JOIN pulse.processed_events AS p ON p.consumer = ?1 AND p.event_id = wanted.value
