-- Writes the verdicts of a batch back and returns the seqs for which it did;
-- it refuses the others.
--
-- The fence: only this transaction writes, so that nobody can take a lease over
-- between the look at its token and the write.
--
-- Plan: messages by primary key.
WITH held AS MATERIALIZED (
  SELECT l.bucket
  FROM json_each(?1) AS a JOIN outbox_leases AS l ON l.bucket = a.value ->> 'bucket' AND l.token = a.value ->> 'token'
),
verdicts AS MATERIALIZED (
  SELECT value AS seq, 'published' AS status, 0 AS delay, '' AS error FROM json_each(?2)
  UNION ALL
  SELECT value ->> 'seq', value ->> 'status', value ->> 'delay', value ->> 'error' FROM json_each(?3)
)
UPDATE outbox_messages AS m
SET status = v.status,
    published_at = CASE v.status WHEN 'published' THEN strftime('%Y-%m-%d %H:%M:%f000', 'now') END,
    attempts = m.attempts + (v.status <> 'published'),
    last_error = CASE v.status WHEN 'published' THEN m.last_error ELSE v.error END,
    available_at = CASE v.status WHEN 'published' THEN m.available_at
                   ELSE strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', v.delay / 1e6)) END
FROM verdicts AS v
WHERE m.seq = v.seq AND m.status = 'pending' AND m.bucket IN (SELECT bucket FROM held)
RETURNING seq
