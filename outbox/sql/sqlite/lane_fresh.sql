-- The newest rows of some buckets of which no earlier message of their key is pending ahead of the cursor: they need not
-- wait until the cursor has come through the backlog of other keys. Runs before lane_read and in its transaction.
--
-- ?1 where the lane stands, ?2 how many rows of a bucket, ?3 bytes of payload, which is not exceeded.
--
-- A row is returned only if every pending row of its key between the cursor and it is among the newest, too: those are sent
-- in the order of seq. One that waits for its moment counts as pending.
--
-- Plan: outbox_messages_pending (bucket, seq), backwards for the newest and once through the backlog of each bucket
-- for their keys.
WITH asked AS (
  SELECT value ->> 'bucket' AS bucket, value ->> 'token' AS token, value ->> 'cursor' AS cursor,
         value ->> 'interventions' AS interventions
  FROM json_each(?1)
),
mine AS MATERIALIZED (
  SELECT a.bucket, a.cursor
  FROM asked AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.bucket AND l.token = a.token AND l.interventions = a.interventions
),
newest AS MATERIALIZED (
  SELECT last.seq, last.key, octet_length(last.payload) AS size
  FROM mine CROSS JOIN json_each((
    SELECT json_group_array(seq) FROM (
      SELECT m.seq
      FROM pulse.outbox_messages AS m
      WHERE m.bucket = mine.bucket AND m.seq > mine.cursor
        AND m.status = 'pending' AND (m.available_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now') OR m.attempts = 0 AND m.available_at <= m.created_at
            OR m.rescheduled_at > strftime('%Y-%m-%d %H:%M:%f000', 'now'))
        AND NOT EXISTS (
          SELECT 1 FROM pulse.outbox_messages AS head
          WHERE head.key = m.key AND head.seq < m.seq
            AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
      ORDER BY m.seq DESC
      LIMIT ?2))) AS found
  CROSS JOIN pulse.outbox_messages AS last ON last.seq = found.value
),
waiting AS MATERIALIZED (
  SELECT earlier.key
  FROM mine CROSS JOIN pulse.outbox_messages AS earlier INDEXED BY outbox_messages_pending
  WHERE earlier.bucket = mine.bucket AND earlier.seq > mine.cursor AND earlier.status = 'pending'
    AND earlier.key <> '' AND earlier.key IN (SELECT key FROM newest) AND earlier.seq NOT IN (SELECT seq FROM newest)
    AND earlier.seq < (SELECT max(seq) FROM newest)
),
batch AS MATERIALIZED (
  SELECT seq, sum(size) OVER (ORDER BY seq) AS bytes
  FROM newest WHERE key NOT IN (SELECT key FROM waiting)
)
SELECT '' AS frame, m.seq, m.id, m.bucket, m.topic, m.type, m.key, m.payload, m.content_type, m.headers,
       m.correlation_id, m.causation_id, m.occurred_at, m.attempts, 0 AS old,
       coalesce(CAST(1e6 * (unixepoch('now', 'subsec')
         - unixepoch(CASE WHEN m.attempts > 0 THEN m.created_at ELSE max(m.created_at, m.available_at) END, 'subsec')) AS integer), 0),
       0 AS over
FROM batch CROSS JOIN pulse.outbox_messages AS m ON m.seq = batch.seq
WHERE batch.bytes <= ?3
