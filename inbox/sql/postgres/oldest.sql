-- The age in seconds of the oldest event, from the index (consumer, processed_at).
-- $1 consumer.
SELECT coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - (
  SELECT pg_catalog.min(processed_at) FROM pulse.processed_events WHERE consumer = $1)), 0)::pg_catalog.float8
