-- How the outbox stands, at a cost that does not grow with the table. ?1 bounds every count.
--
-- Plan: every count reads a partial index, no further than the bound.
-- firsts takes the first due row of each of the 64 buckets, which
-- outbox_messages_pending yields at once, while min() over all would read them all.
-- The oldest of them is the oldest pending; and a backlog beyond the bound is
-- about as long as what was written since the median of them: a few stuck keys do
-- not move it.
-- Published rows have no index: where the table has no more than ten times the
-- bound, which its narrowest index tells, they are what the others leave.
WITH RECURSIVE clock AS MATERIALIZED (SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now') AS now),
rows_there AS MATERIALIZED (
  SELECT count(*) AS n FROM (SELECT 1 FROM pulse.outbox_messages LIMIT 10 * ?1)
),
buckets(bucket) AS (SELECT 0 UNION ALL SELECT bucket + 1 FROM buckets WHERE bucket < 63),
firsts AS MATERIALIZED (
  SELECT m.seq, CASE WHEN m.attempts > 0 THEN m.created_at ELSE max(m.created_at, m.available_at) END AS due
  FROM buckets AS b CROSS JOIN pulse.outbox_messages AS m ON m.seq = (
    SELECT first.seq FROM pulse.outbox_messages AS first
    WHERE first.bucket = b.bucket AND first.status = 'pending'
      AND (first.attempts > 0 OR first.available_at <= max((SELECT now FROM clock), first.created_at))
    ORDER BY first.seq LIMIT 1)
),
heads AS MATERIALIZED (
  SELECT key, bucket, min(seq) AS seq FROM (
    SELECT key, bucket, seq FROM pulse.outbox_messages
    WHERE status IN ('pending', 'dead') AND attempts > 0 AND key <> ''
    LIMIT ?1)
  GROUP BY key, bucket
),
-- Who might wait: the pending rows of the heads' buckets.
waiting AS MATERIALIZED (
  SELECT m.key, m.seq
  FROM (SELECT DISTINCT bucket FROM heads) AS b
  CROSS JOIN pulse.outbox_messages AS m ON m.bucket = b.bucket AND m.status = 'pending'
  LIMIT ?1
)
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'pending' LIMIT ?1)) AS pending,
  (SELECT max(seq) FROM pulse.outbox_messages)
    - (SELECT seq FROM firsts ORDER BY seq LIMIT 1 OFFSET (SELECT (count(*) - 1) / 2 FROM firsts)) AS estimated_pending,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages INDEXED BY outbox_messages_due
                         WHERE status = 'pending' AND attempts > 0
                         LIMIT ?1)) AS retrying,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages INDEXED BY outbox_messages_due
                         WHERE status = 'pending' AND attempts = 0
                           AND available_at > created_at AND available_at > now
                         LIMIT ?1)) AS delayed,
  (SELECT count(*) FROM waiting AS w JOIN heads AS h ON h.key = w.key AND h.seq < w.seq) AS blocked,
  (SELECT count(*) < ?1 FROM waiting) AS blocked_exact,
  (SELECT count(*) FROM heads) AS blocked_keys,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'dead' LIMIT ?1)) AS dead,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'discarded' LIMIT ?1)) AS discarded,
  CASE WHEN n < 10 * ?1 THEN n
    - (SELECT count(*) FROM pulse.outbox_messages WHERE status = 'pending')
    - (SELECT count(*) FROM pulse.outbox_messages WHERE status = 'dead')
    - (SELECT count(*) FROM pulse.outbox_messages WHERE status = 'discarded') ELSE 0 END AS published,
  n < 10 * ?1 AS published_exact,
  -- Few numbers are lost: purged rows are the first, and a rollback gives numbers back.
  coalesce((SELECT max(seq) FROM pulse.outbox_messages) - (SELECT min(seq) FROM pulse.outbox_messages) + 1.0, 0.0) AS estimated_rows,
  (SELECT min(due) FROM firsts) AS oldest_pending,
  now
FROM clock, rows_there
