-- Removes one chunk of what is older than the retention. Instances that purge at once pass over each other's rows.
-- now() is stable and so bounds the index scan; each chunk is a transaction of its own.
-- $1 consumer, $2 retention in seconds, $3 size of a chunk.
DELETE FROM processed_events
WHERE consumer = $1 AND event_id IN (
  SELECT event_id FROM processed_events
  WHERE consumer = $1 AND processed_at < now() - make_interval(secs => $2)
  ORDER BY processed_at
  LIMIT $3
  FOR UPDATE SKIP LOCKED
)
