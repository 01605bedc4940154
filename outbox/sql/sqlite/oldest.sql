-- The age in microseconds of the oldest row that should be out by now: of the
-- first such row of each bucket, whoever serves it.
--
-- Plan: outbox_messages_pending, one row per bucket.
WITH RECURSIVE buckets(bucket) AS (SELECT 0 UNION ALL SELECT bucket + 1 FROM buckets WHERE bucket < 63)
SELECT CAST((unixepoch('now', 'subsec') - min(unixepoch(
         CASE WHEN m.attempts > 0 THEN m.created_at ELSE max(m.created_at, m.available_at) END, 'subsec'))) * 1e6 AS integer) AS age
FROM buckets AS b
CROSS JOIN pulse.outbox_messages AS m ON m.seq = (
  SELECT first.seq FROM pulse.outbox_messages AS first
  WHERE first.bucket = b.bucket AND first.status = 'pending'
    AND (first.attempts > 0 OR first.available_at <= max(strftime('%Y-%m-%d %H:%M:%f000', 'now'), first.created_at))
  ORDER BY first.seq LIMIT 1)
