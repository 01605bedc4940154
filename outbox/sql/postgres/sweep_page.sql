-- Pending rows behind the cursors, up to a page of them, and whether they
-- should have gone out. In the calm there are none.
--
-- Plan: outbox_messages_pending (bucket, seq), per bucket from floor to cursor.
SELECT s.bucket, found.seq, found.topic, found.key, found.ready
FROM jsonb_to_recordset($1::text::jsonb) AS s(bucket smallint, "from" bigint, "to" bigint)
CROSS JOIN LATERAL (
  SELECT m.seq, m.topic, m.key,
         (m.available_at <= clock_timestamp() OR m.attempts = 0 AND m.available_at <= m.created_at
             OR coalesce(m.rescheduled_at > clock_timestamp(), false)) AND NOT EXISTS (
           SELECT FROM pulse.outbox_messages AS head
           WHERE head.key = m.key AND head.seq < m.seq
             AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '') AS ready
  FROM pulse.outbox_messages AS m
  WHERE m.bucket = s.bucket AND m.seq > s."from" AND m.seq <= s."to" AND m.status = 'pending'
  ORDER BY m.seq) AS found
LIMIT $2::bigint
