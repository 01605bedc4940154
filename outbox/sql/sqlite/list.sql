-- One page of the outbox, newest first. The program replaces TRUE by the
-- filters that are set and turns the order where asked to: a condition that is
-- not there costs nothing, and the planner sees what it is to look for.
--
-- Plan: without a filter the primary key backwards; by status
-- outbox_messages_open; by id its unique index; by time outbox_messages_created.
-- The inner SELECT cuts the page first, so that the payload is read and the
-- blocking head is looked up (index outbox_messages_blocking) for its rows alone.
SELECT m.seq, m.id, m.topic, m.type, m.key,
       CASE WHEN ? THEN m.payload END AS payload,
       m.content_type, m.headers, m.correlation_id, m.causation_id, m.bucket, m.status, m.attempts,
       m.occurred_at, m.created_at, m.available_at, m.published_at, m.discarded_at, m.last_error,
       -- The same condition under which the relay holds a row back.
       CASE WHEN m.status = 'pending' AND m.key <> '' THEN (
         SELECT head.id FROM outbox_messages AS head
         WHERE head.key = m.key AND head.seq < m.seq
           AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> ''
         ORDER BY head.seq LIMIT 1) END AS blocked_by
FROM (
  SELECT seq FROM outbox_messages
  WHERE TRUE
  ORDER BY seq DESC
  LIMIT ?
) AS page
CROSS JOIN outbox_messages AS m ON m.seq = page.seq
ORDER BY m.seq DESC
