-- Retries and delayed messages whose moment has come, the longest due first,
-- onwards from the last row of the page before.
--
-- Plan: outbox_messages_due (available_at), which holds only rows that wait.
SELECT m.bucket, m.seq, m.topic, m.key, CAST(m.available_at AS text) AS available_at
FROM pulse.outbox_messages AS m INDEXED BY outbox_messages_due
WHERE m.status = 'pending' AND (m.attempts > 0 OR m.available_at > m.created_at)
  AND m.available_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
  AND (m.available_at, m.seq) > (?1, ?2)
  AND +m.bucket IN (SELECT value FROM json_each(?3))
  AND NOT EXISTS (
    SELECT 1 FROM pulse.outbox_messages AS head
    WHERE head.key = m.key AND head.seq < m.seq
      AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
ORDER BY m.available_at, m.seq
LIMIT ?4
