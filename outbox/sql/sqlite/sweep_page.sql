-- Pending rows behind the cursors, up to a page of them, and whether they
-- should have gone out. In the calm there are none.
--
-- Plan: outbox_messages_pending (bucket, seq), per bucket from floor to cursor.
SELECT m.bucket, m.seq, m.topic, m.key,
       (m.available_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now') OR m.attempts = 0 AND m.available_at <= m.created_at
           OR coalesce(m.rescheduled_at > strftime('%Y-%m-%d %H:%M:%f000', 'now'), false)) AND NOT EXISTS (
         SELECT 1 FROM pulse.outbox_messages AS head
         WHERE head.key = m.key AND head.seq < m.seq
           AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '') AS ready
FROM json_each(?1) AS s
CROSS JOIN pulse.outbox_messages AS m INDEXED BY outbox_messages_pending
  ON m.bucket = s.value ->> 'bucket' AND m.seq > s.value ->> 'from' AND m.seq <= s.value ->> 'to' AND m.status = 'pending'
LIMIT ?2
