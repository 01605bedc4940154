-- The age in microseconds of the oldest row that should be out by now: of the
-- first such row of each bucket, from the sweep's floor on.
-- Plan: outbox_messages_pending, one row per bucket.
SELECT (extract(epoch FROM clock_timestamp() - min(first.since)) * 1000000)::bigint AS age
FROM jsonb_to_recordset(?::text::jsonb) AS s(bucket smallint, "from" bigint)
CROSS JOIN LATERAL (
  SELECT CASE WHEN m.attempts > 0 THEN m.created_at ELSE greatest(m.created_at, m.available_at) END AS since
  FROM pulse.outbox_messages AS m
  WHERE m.bucket = s.bucket AND m.seq > s."from" AND m.status = 'pending'
    AND (m.attempts > 0 OR m.available_at <= clock_timestamp())
  ORDER BY m.seq LIMIT 1) AS first
