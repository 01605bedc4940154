-- Notes nothing, if the user may note what is applied and the server takes writes; else it fails as a claim would.
INSERT INTO pulse.processed_events (consumer, event_id, topic, type, payload_hash)
SELECT consumer, event_id, topic, type, payload_hash FROM pulse.processed_events WHERE false
ON CONFLICT (consumer, event_id) DO NOTHING
