-- Retries and delayed messages whose moment has come, the longest due first,
-- onwards from the last row of the page before.
--
-- Plan: outbox_messages_due (available_at), which holds only rows that wait.
-- bucket + 0 keeps the planner from reading all that is pending in the buckets,
-- and the bare comparison of available_at draws it to the index.
WITH after AS MATERIALIZED (SELECT coalesce(nullif($1::text, '')::timestamptz, '-infinity') AS available_at, $2::bigint AS seq)
SELECT m.bucket, m.seq, m.topic, m.key, m.available_at::text AS available_at
FROM pulse.outbox_messages AS m
WHERE m.status = 'pending' AND (m.attempts > 0 OR m.available_at > m.created_at)
  AND m.available_at <= clock_timestamp()
  AND m.available_at >= (SELECT available_at FROM after)
  AND (m.available_at > (SELECT available_at FROM after) OR m.seq > (SELECT seq FROM after))
  AND m.bucket + 0 = ANY (ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)::integer))
  AND NOT EXISTS (
    SELECT FROM pulse.outbox_messages AS head
    WHERE head.key = m.key AND head.seq < m.seq
      AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
ORDER BY m.available_at, m.seq
LIMIT $4::bigint
