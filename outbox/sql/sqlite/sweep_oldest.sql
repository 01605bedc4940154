-- The age in microseconds of the oldest row that should be out by now: of the
-- first such row of each bucket, from the sweep's floor on.
-- Plan: outbox_messages_pending, one row per bucket.
SELECT CAST((unixepoch('now', 'subsec') - min(unixepoch(
         CASE WHEN m.attempts > 0 THEN m.created_at ELSE max(m.created_at, m.available_at) END, 'subsec'))) * 1e6 AS integer) AS age
FROM json_each(?1) AS s
CROSS JOIN pulse.outbox_messages AS m ON m.seq = (
  SELECT first.seq FROM pulse.outbox_messages AS first
  WHERE first.bucket = s.value ->> 'bucket' AND first.seq > s.value ->> 'from' AND first.status = 'pending'
    AND (first.attempts > 0 OR first.available_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now'))
  ORDER BY first.seq LIMIT 1)
