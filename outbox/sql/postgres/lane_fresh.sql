-- The newest rows of some buckets of which no earlier message of their key is pending ahead of the cursor: they need not
-- wait until the cursor has come through the backlog of other keys. Runs before lane_read and in its transaction: what
-- a row depends on behind the cursor is what that later snapshot is judged by.
--
-- $1 where the lane stands, $2 how many rows of a bucket, $3 bytes of payload, which is not exceeded.
--
-- A row is returned only if every pending row of its key between the cursor and it is among the newest, too: those are sent
-- in the order of seq. One that waits for its moment counts as pending.
--
-- Plan: outbox_messages_pending (bucket, seq), backwards for the newest and once through the backlog of each bucket
-- for their keys. There is no index on keys, which each message would have to pay for: the lane bounds the part of its
-- time that this takes. OFFSET 0 keeps the planner from making the bounds of that look a filter.
WITH asked AS (
  SELECT place, bucket, token, cursor, interventions
  FROM jsonb_to_recordset($1::text::jsonb) AS a(place int, bucket smallint, token bigint, cursor bigint, interventions bigint)
),
mine AS MATERIALIZED (
  SELECT a.bucket, a.cursor
  FROM asked AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.bucket AND l.token = a.token AND l.interventions = a.interventions
),
newest AS MATERIALIZED (
  SELECT mine.bucket, mine.cursor, last.seq, last.key, last.size
  FROM mine CROSS JOIN LATERAL (
    SELECT m.seq, m.key, octet_length(m.payload) AS size
    FROM pulse.outbox_messages AS m
    WHERE m.bucket = mine.bucket AND m.seq > mine.cursor
      AND m.status = 'pending' AND (m.available_at <= clock_timestamp() OR m.attempts = 0 AND m.available_at <= m.created_at
          OR m.rescheduled_at > clock_timestamp())
      AND NOT EXISTS (
        SELECT FROM pulse.outbox_messages AS head
        WHERE head.key = m.key AND head.seq < m.seq
          AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
    ORDER BY m.seq DESC
    LIMIT $2::bigint) AS last
),
spans AS MATERIALIZED (
  SELECT bucket, cursor, max(seq) AS last, array_agg(seq) AS seqs, array_agg(key) AS keys
  FROM newest WHERE key <> ''
  GROUP BY bucket, cursor
),
waiting AS MATERIALIZED (
  SELECT earlier.key
  FROM spans CROSS JOIN LATERAL (
    SELECT m.key
    FROM pulse.outbox_messages AS m
    WHERE m.bucket = spans.bucket AND m.seq > spans.cursor AND m.seq < spans.last AND m.status = 'pending'
      AND m.key = ANY (spans.keys) AND m.seq <> ALL (spans.seqs)
    OFFSET 0) AS earlier
),
batch AS (
  SELECT seq, sum(size) OVER (ORDER BY seq) AS bytes
  FROM newest WHERE key NOT IN (SELECT key FROM waiting)
)
SELECT '' AS frame, m.seq, m.id, m.bucket, m.topic, m.type, m.key, m.payload, m.content_type, m.headers::text,
       m.correlation_id, m.causation_id, CASE WHEN isfinite(m.occurred_at) THEN m.occurred_at END, m.attempts, false AS old,
       (1e6 * date_part('epoch', clock_timestamp() - CASE WHEN m.attempts > 0 OR NOT isfinite(m.available_at) THEN m.created_at ELSE greatest(m.created_at, m.available_at) END))::bigint,
       false AS over
FROM batch CROSS JOIN LATERAL (SELECT * FROM pulse.outbox_messages AS m WHERE m.seq = batch.seq) AS m
WHERE bytes <= $3::bigint
