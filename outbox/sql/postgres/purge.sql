-- Deletes what was settled before the cutoff among the rows of a chunk.
--
-- Plan: the primary key. Rows are locked in the order of seq and skipped where
-- held, so that purges of several relays neither wait for one another nor deadlock.
DELETE FROM pulse.outbox_messages WHERE seq IN (
  SELECT seq FROM pulse.outbox_messages
  WHERE seq > $1::bigint AND seq <= $2::bigint AND status IN ('published', 'discarded')
    AND coalesce(published_at, discarded_at) < clock_timestamp() - $3::bigint * interval '1 microsecond'
  ORDER BY seq
  FOR UPDATE SKIP LOCKED
)
