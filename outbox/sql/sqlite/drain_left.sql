-- What is left for a Drain to publish, in whosever bucket, and all that is pending up to its highest seq, each counted no
-- further than a limit. A row that the broker refuses meanwhile is due after the instant, and so not counted.
-- ?1 the highest seq, ?2 the instant, ?3 the limit.
--
-- Plan: outbox_messages_pending, which is nearly empty when there is little left, up to the limit.
SELECT
  (SELECT count(*) FROM (
    SELECT 1 FROM pulse.outbox_messages AS m INDEXED BY outbox_messages_pending
    WHERE m.status = 'pending' AND m.seq <= ?1
      AND (m.available_at <= ?2 OR m.attempts = 0 AND m.available_at <= m.created_at)
      AND NOT EXISTS (
        SELECT 1 FROM pulse.outbox_messages AS head
        WHERE head.key = m.key AND head.seq < m.seq
          AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
    LIMIT ?3)) AS due,
  (SELECT count(*) FROM (
    SELECT 1 FROM pulse.outbox_messages AS m INDEXED BY outbox_messages_pending
    WHERE m.status = 'pending' AND m.seq <= ?1
    LIMIT ?3)) AS pending
