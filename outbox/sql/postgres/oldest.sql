-- The age in microseconds of the oldest row that should be out by now: of the
-- first such row of each bucket, whoever serves it.
--
-- Plan: outbox_messages_pending, one row per bucket.
SELECT (extract(epoch FROM clock_timestamp() - min(first.since)) * 1000000)::bigint AS age
FROM generate_series(0, 63) AS b(bucket)
CROSS JOIN LATERAL (
  SELECT CASE WHEN m.attempts > 0 THEN m.created_at ELSE greatest(m.created_at, m.available_at) END AS since
  FROM pulse.outbox_messages AS m
  WHERE m.bucket = b.bucket AND m.status = 'pending'
    AND (m.attempts > 0 OR m.available_at <= greatest(clock_timestamp(), m.created_at))
  ORDER BY m.seq LIMIT 1) AS first
