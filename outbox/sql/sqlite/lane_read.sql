-- The hot read: the next pending rows of a lane's buckets, each bucket onwards
-- from its cursor, and the rows behind the cursors that the lane was told to
-- look at. First comes one row that is none: the frame, which says what this
-- very snapshot knows beside rows.
--
-- Plan: per bucket a list of seqs by outbox_messages_pending (bucket, seq),
-- which yields each bucket in order and stops at the limit; it is made one
-- value because a sub-select that depends on mine may give no rows. Each row found
-- looks into outbox_messages_blocking, which is small, for a failed row of its
-- key before it. Strays, and at last the payloads, come by the primary key.
WITH asked AS (
  SELECT value ->> 'place' AS place, value ->> 'bucket' AS bucket, value ->> 'token' AS token,
         value ->> 'cursor' AS cursor, value ->> 'interventions' AS interventions
  FROM json_each(?1)
),
-- Buckets whose lease has gone to another relay are not read. Where somebody has retried or discarded
-- by hand since the last read, the bucket is read from its beginning.
mine AS MATERIALIZED (
  SELECT a.bucket, l.interventions, CASE WHEN l.interventions = a.interventions THEN a.cursor ELSE 0 END AS cursor
  FROM asked AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.bucket AND l.token = a.token
  ORDER BY a.place
),
strays AS (
  SELECT m.seq, octet_length(m.payload) AS size
  FROM json_each(?2) AS named CROSS JOIN pulse.outbox_messages AS m ON m.seq = named.value
  JOIN mine ON mine.bucket = m.bucket AND m.seq <= mine.cursor
  WHERE m.status = 'pending' AND (m.available_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now') OR m.attempts = 0 AND m.available_at <= m.created_at
      OR m.rescheduled_at > strftime('%Y-%m-%d %H:%M:%f000', 'now'))
    AND NOT EXISTS (
      SELECT 1 FROM pulse.outbox_messages AS head
      WHERE head.key = m.key AND head.seq < m.seq
        AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
),
ahead AS (
  -- What waits for its topic is not sent, and comes without payload.
  SELECT next.seq, CASE WHEN next.topic IN (SELECT value FROM json_each(?5)) AND next.seq NOT IN (SELECT value FROM json_each(?2))
                        THEN 0 ELSE octet_length(next.payload) END AS size
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
      ORDER BY m.seq
      LIMIT ?3))) AS found
  CROSS JOIN pulse.outbox_messages AS next ON next.seq = found.value
  LIMIT ?4
),
-- Cut where the payloads become too many bytes, after the first one at the earliest. The row that does not fit comes
-- without payload, to tell of the cut.
batch AS MATERIALIZED (
  SELECT seq, size, sum(size) OVER (ROWS UNBOUNDED PRECEDING) AS bytes
  FROM (SELECT * FROM strays UNION ALL SELECT * FROM ahead)
)
SELECT json_object(
         -- How far this is: positions are worth nothing in a file that has gone back.
         'given', (SELECT seq FROM pulse.sqlite_sequence WHERE name = 'outbox_messages'),
         'sign', (SELECT sign FROM pulse.outbox_relays WHERE owner = ?7),
         -- One writes at a time: no transaction can add a row below those that are there. That is what this
         -- snapshot, in the form of PostgreSQL's, says.
         'snapshot', '1:1:', 'age', -2,
         -- The highest seq, as far as is known and there is none above.
         'top', (SELECT coalesce(max(seq), ?6) FROM pulse.outbox_messages WHERE seq >= ?6),
         -- What must not be sent, as of the snapshot that has found the rows.
         'paused', (SELECT json_group_array(topic) FROM pulse.outbox_pauses),
         'held', (SELECT json_group_object(bucket, interventions) FROM mine)) AS frame,
       0 AS seq, '00000000-0000-0000-0000-000000000000' AS id, 0 AS bucket,
       '' AS topic, '' AS type, '' AS key, x'' AS payload, '' AS content_type, '' AS headers,
       '' AS correlation_id, '' AS causation_id, NULL AS occurred_at, 0 AS attempts, 0 AS old,
       0 AS waits, 0 AS over
UNION ALL
SELECT '', m.seq, m.id, m.bucket, m.topic, m.type, m.key, CASE WHEN batch.size = 0 OR batch.bytes > ?9 AND batch.bytes > batch.size THEN x'' ELSE m.payload END, m.content_type, m.headers,
       m.correlation_id, m.causation_id, m.occurred_at, m.attempts,
       m.created_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', ?8 / 1e6)),
       -- In microseconds since it was written or, delayed, became due; what has failed is late from its writing.
       coalesce(CAST(1e6 * (unixepoch('now', 'subsec')
         - unixepoch(CASE WHEN m.attempts > 0 THEN m.created_at ELSE max(m.created_at, m.available_at) END, 'subsec')) AS integer), 0),
       batch.bytes > ?9 AND batch.bytes > batch.size
FROM batch CROSS JOIN pulse.outbox_messages AS m ON m.seq = batch.seq
WHERE batch.bytes - batch.size <= ?9
