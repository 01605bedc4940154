-- Removes one chunk of what is older than the retention. Instances that purge at once pass over each other's rows.
-- now() is stable and so bounds the index scan, and the rows found are deleted by their place: a join by event id
-- would read the whole table for each chunk. Each chunk is a transaction of its own.
-- $1 consumer, $2 retention in seconds, $3 size of a chunk.
DELETE FROM pulse.processed_events
WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM pulse.processed_events
  WHERE consumer = $1 AND processed_at < now() - make_interval(secs => $2)
  ORDER BY processed_at
  LIMIT $3
  FOR UPDATE SKIP LOCKED
))
