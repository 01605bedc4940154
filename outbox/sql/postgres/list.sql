-- One page of the outbox, newest first. TRUE stands for filter.sql, and the program turns the order where asked to.
-- $18 with payload, $19 limit, $20 how many bytes a page may hold; its first row it holds in any case.
--
-- Plan: without a filter the primary key backwards; by status the partial
-- index of that status; by id its unique index; by time the BRIN index, or the
-- primary key where the page fills early.
-- The inner SELECT cuts the page first, so that the payload is read and the
-- blocking head is looked up (index outbox_messages_blocking) for its rows alone.
SELECT m.seq, m.id, m.topic, m.type, m.key,
       CASE WHEN $18::boolean THEN m.payload END AS payload,
       m.content_type, m.headers, m.correlation_id, m.causation_id, m.bucket, m.status, m.attempts,
       -- Producers in plain SQL may write times that no program can hold, such as infinity.
       greatest('0001-01-01Z', least('9999-12-31Z', m.occurred_at)) AS occurred_at,
       m.created_at,
       greatest('0001-01-01Z', least('9999-12-31Z', m.available_at)) AS available_at,
       m.published_at, m.discarded_at, m.last_error,
       CASE WHEN m.attempts > 0 THEN m.rescheduled_at END AS failed_at,
       -- The same condition under which the relay holds a row back.
       CASE WHEN m.status = 'pending' AND m.key <> '' THEN (
         SELECT head.id FROM pulse.outbox_messages AS head
         WHERE head.key = m.key AND head.seq < m.seq
           AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> ''
         ORDER BY head.seq LIMIT 1) END AS blocked_by,
       m.matching
FROM (
  SELECT page.*, count(*) OVER () AS matching,
         sum(CASE WHEN $18::boolean THEN octet_length(payload) ELSE 0 END + pg_column_size(headers)) OVER (ORDER BY seq DESC) AS bytes,
         row_number() OVER (ORDER BY seq DESC) AS place
  FROM (
    SELECT * FROM pulse.outbox_messages
    WHERE TRUE
    ORDER BY seq DESC
    LIMIT $19
  ) AS page
) AS m
WHERE m.place = 1 OR m.bytes <= $20::bigint
ORDER BY m.seq DESC
