-- Notes nothing, if the user may note what is applied and the server takes writes; else it fails as a claim would.
INSERT INTO processed_events (consumer, event_id, payload_hash)
SELECT consumer, event_id, payload_hash FROM processed_events WHERE false
ON CONFLICT (consumer, event_id) DO NOTHING
