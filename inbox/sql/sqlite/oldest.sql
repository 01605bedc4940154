-- The age in seconds of the oldest event, from the index (consumer, processed_at).
-- ?1 consumer.
SELECT coalesce((julianday('now') - julianday((SELECT min(processed_at) FROM pulse.processed_events WHERE consumer = ?1))) * 86400.0, 0.0)
