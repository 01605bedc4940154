-- The hot read: the next pending rows of a lane's buckets, each bucket onwards
-- from its cursor, and the rows behind the cursors that the lane was told to
-- look at. First comes one row that is none: the frame, which says what this
-- very snapshot knows beside rows.
--
-- Plan: LATERAL per bucket on outbox_messages_pending (bucket, seq), which
-- yields each bucket in order and stops at the limit; bucket = ANY (...) ORDER
-- BY seq would have to read and sort them all. Each row found looks into
-- outbox_messages_blocking, which is small, for a failed row of its key before it.
-- Strays come by the primary key.
WITH asked AS (
  SELECT place, bucket, token, cursor, interventions
  FROM jsonb_to_recordset($1::text::jsonb) AS a(place int, bucket smallint, token bigint, cursor bigint, interventions bigint)
),
-- Buckets whose lease has gone to another relay are not read. Where somebody has retried or discarded
-- by hand since the last read, the bucket is read from its beginning.
mine AS MATERIALIZED (
  SELECT a.bucket, l.interventions, CASE WHEN l.interventions = a.interventions THEN a.cursor ELSE 0 END AS cursor
  FROM asked AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.bucket AND l.token = a.token
  ORDER BY a.place
),
named AS MATERIALIZED (
  SELECT m.* FROM pulse.outbox_messages AS m
  WHERE m.seq = ANY (ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint))
),
strays AS (
  SELECT m.*
  FROM named AS m JOIN mine ON mine.bucket = m.bucket AND m.seq <= mine.cursor
  WHERE m.status = 'pending' AND (m.available_at <= clock_timestamp() OR m.attempts = 0 AND m.available_at <= m.created_at
      OR m.rescheduled_at > clock_timestamp())
    AND NOT EXISTS (
      SELECT FROM pulse.outbox_messages AS head
      WHERE head.key = m.key AND head.seq < m.seq
        AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
),
ahead AS (
  SELECT next.*
  FROM mine CROSS JOIN LATERAL (
    SELECT m.*
    FROM pulse.outbox_messages AS m
    WHERE m.bucket = mine.bucket AND m.seq > mine.cursor
      AND m.status = 'pending' AND (m.available_at <= clock_timestamp() OR m.attempts = 0 AND m.available_at <= m.created_at
          OR m.rescheduled_at > clock_timestamp())
      AND NOT EXISTS (
        SELECT FROM pulse.outbox_messages AS head
        WHERE head.key = m.key AND head.seq < m.seq
          AND head.status IN ('pending', 'dead') AND head.attempts > 0 AND head.key <> '')
    ORDER BY m.seq
    LIMIT $3::bigint) AS next
  LIMIT $4::bigint
),
-- What waits for its topic is not sent, and comes without payload.
found AS (
  SELECT m.*, octet_length(m.payload) AS size FROM strays AS m
  UNION ALL
  SELECT m.*, CASE WHEN m.topic = ANY (ARRAY(SELECT jsonb_array_elements_text($5::text::jsonb)))
                    AND m.seq NOT IN (SELECT seq FROM named) THEN 0 ELSE octet_length(m.payload) END
  FROM ahead AS m
),
-- Cut where the payloads become too many bytes, after the first one at the earliest. The row that does not fit comes
-- without payload, to tell of the cut. Sizes are read without the payloads.
batch AS (
  SELECT *, sum(size) OVER (ROWS UNBOUNDED PRECEDING) AS bytes FROM found
)
SELECT jsonb_build_object(
         -- Where this is, and how far: positions are worth nothing in another database, or in one that has gone back.
         'server', pg_postmaster_start_time()::text,
         'database', (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
         'table', pg_relation_filenode('pulse.outbox_messages'::regclass)::bigint,
         'given', (SELECT CASE WHEN has_sequence_privilege(s, 'USAGE') OR has_sequence_privilege(s, 'SELECT')
                               THEN pg_sequence_last_value(s::regclass) END
                   FROM pg_get_serial_sequence('pulse.outbox_messages', 'seq') AS s),
         'sign', (SELECT sign FROM pulse.outbox_relays WHERE owner = known.owner),
         'snapshot', pg_current_snapshot()::text,
         -- Tells the number of the next transaction; the snapshot does not list those that began after the last that has ended.
         'age', age('3'::xid),
         -- The highest seq; from the last one known on, so that deleted rows above are passed once.
         'top', (SELECT coalesce(max(seq), known.top) FROM pulse.outbox_messages WHERE seq >= known.top),
         -- What must not be sent, as of the snapshot that has found the rows.
         'paused', (SELECT coalesce(jsonb_agg(topic), '[]') FROM pulse.outbox_pauses),
         'held', (SELECT coalesce(jsonb_object_agg(bucket, interventions), '{}') FROM mine))::text AS frame,
       0::bigint AS seq, '00000000-0000-0000-0000-000000000000'::uuid AS id, 0::smallint AS bucket,
       '' AS topic, '' AS type, '' AS key, ''::bytea AS payload, '' AS content_type, '' AS headers,
       '' AS correlation_id, '' AS causation_id, NULL::timestamptz AS occurred_at, 0 AS attempts, false AS old,
       0::bigint AS waits, false AS over
FROM (SELECT $6::bigint AS top, $7::text AS owner) AS known
UNION ALL
SELECT '', seq, id, bucket, topic, type, key, CASE WHEN size = 0 OR bytes > $9::bigint AND bytes > size THEN '' ELSE payload END, content_type, headers::text,
       correlation_id, causation_id, CASE WHEN isfinite(occurred_at) THEN occurred_at END, attempts,
       created_at < clock_timestamp() - $8::bigint * interval '1 microsecond',
       -- In microseconds since it was written or, delayed, became due; what has failed is late from its writing.
       (1e6 * date_part('epoch', clock_timestamp() - CASE WHEN attempts > 0 OR NOT isfinite(available_at) THEN created_at ELSE greatest(created_at, available_at) END))::bigint,
       bytes > $9::bigint AND bytes > size
FROM batch
WHERE bytes - size <= $9::bigint
