-- Deletes what was settled before the cutoff among the next chunk of rows; the
-- program goes on from the last seq until no row of a chunk is old.
--
-- Plan: the primary key from where the last chunk ended, so that a run looks
-- at each old row once, and needs no index on published_at, which would cost
-- every message an entry. seq and created_at rise together and nothing is
-- settled before it is created: a chunk without old rows is the end.
-- Rows are locked in the order of seq and skipped where held, so that purges
-- of several relays neither wait for one another nor deadlock.
WITH cutoff AS (
  SELECT clock_timestamp() - ?::bigint * interval '1 microsecond' AS at
),
chunk AS MATERIALIZED (
  SELECT seq, created_at FROM outbox_messages
  WHERE seq > ?::bigint ORDER BY seq LIMIT ?::bigint
),
settled AS MATERIALIZED (
  SELECT seq FROM outbox_messages
  WHERE seq IN (SELECT seq FROM chunk) AND status IN ('published', 'discarded')
    AND coalesce(published_at, discarded_at) < (SELECT at FROM cutoff)
  ORDER BY seq
  FOR UPDATE SKIP LOCKED
),
deleted AS (
  DELETE FROM outbox_messages WHERE seq IN (SELECT seq FROM settled) RETURNING 1
)
SELECT (SELECT count(*) FROM deleted) AS deleted,
       coalesce((SELECT max(seq) FROM chunk), 0) AS last,
       EXISTS (SELECT 1 FROM chunk WHERE created_at < (SELECT at FROM cutoff)) AS more
