-- One page of the outbox, newest first. TRUE stands for the filters that are set, with the parameters of PostgreSQL's
-- filter.sql, and the program turns the order where asked to.
-- ?18 with payload, ?19 limit, ?20 how many bytes a page may hold; its first row it holds in any case.
--
-- Plan: without a filter the primary key backwards; by status
-- outbox_messages_open; by id its unique index; by time outbox_messages_created.
-- The inner SELECT cuts the page first, so that the payload is read and the
-- blocking head is looked up (index outbox_messages_blocking) for its rows alone.
SELECT m.seq, m.id, m.topic, m.type, m.key,
       CASE WHEN ?18 THEN m.payload END AS payload,
       m.content_type, m.headers, m.correlation_id, m.causation_id, m.bucket, m.status, m.attempts,
       m.occurred_at, m.created_at, m.available_at, m.published_at, m.discarded_at, m.last_error,
       CASE WHEN m.attempts > 0 THEN m.rescheduled_at END AS failed_at,
       -- The same condition under which the relay holds a row back.
       CASE WHEN m.status = 'pending' AND m.key <> '' THEN (
         SELECT head.id FROM pulse.outbox_messages AS head
         WHERE head.key = m.key AND head.seq < m.seq
           AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> ''
         ORDER BY head.seq LIMIT 1) END AS blocked_by,
       page.matching
FROM (
  SELECT row.seq, count(*) OVER () AS matching,
         sum(iif(?18, octet_length(row.payload), 0) + octet_length(row.headers)) OVER (ORDER BY row.seq DESC) AS bytes,
         row_number() OVER (ORDER BY row.seq DESC) AS place
  FROM (
    SELECT seq FROM pulse.outbox_messages
    WHERE TRUE
    ORDER BY seq DESC
    LIMIT ?19
  ) AS cut
  CROSS JOIN pulse.outbox_messages AS row ON row.seq = cut.seq
) AS page
CROSS JOIN pulse.outbox_messages AS m ON m.seq = page.seq
WHERE page.place = 1 OR page.bytes <= ?20
ORDER BY m.seq DESC
