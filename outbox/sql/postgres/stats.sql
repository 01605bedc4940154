-- How the outbox stands, at a cost that does not grow with the table.
--
-- Plan: every count reads a partial index, no further than the bound; beyond
-- it the statistics of table and index (pg_class.reltuples, as of the last
-- vacuum or analyze) say how many there are. Published rows have no index: the
-- table is read up to the bound, and where it ends before, the count is exact.
-- The oldest pending row is the first of one of the 64 buckets: an index on
-- (bucket, seq) yields each at once, while min() over all would read them all.
WITH bound AS (SELECT ?::bigint AS n),
pending AS MATERIALIZED (
  SELECT seq, key, attempts, available_at FROM outbox_messages
  WHERE status = 'pending' LIMIT (SELECT n FROM bound)
),
heads AS (
  SELECT key, min(seq) AS seq FROM outbox_messages
  WHERE status IN ('pending', 'dead') AND attempts > 0 AND key <> ''
  GROUP BY key
),
blocked AS (
  SELECT count(*) AS messages, count(DISTINCT p.key) AS keys
  FROM pending AS p JOIN heads AS h ON h.key = p.key AND h.seq < p.seq
),
firsts AS (
  SELECT count(*) AS any_status, count(*) FILTER (WHERE status = 'published') AS published
  FROM (SELECT status FROM outbox_messages LIMIT (SELECT n FROM bound)) AS t
)
SELECT
  (SELECT count(*) FROM pending) AS pending,
  (SELECT count(*) FROM (SELECT 1 FROM outbox_messages WHERE status = 'pending' AND attempts > 0
                         LIMIT (SELECT n FROM bound)) AS t) AS retrying,
  (SELECT count(*) FROM (SELECT 1 FROM outbox_messages
                         WHERE status = 'pending' AND attempts = 0
                           AND available_at > created_at AND available_at > clock_timestamp()
                         LIMIT (SELECT n FROM bound)) AS t) AS delayed,
  (SELECT messages FROM blocked) AS blocked,
  (SELECT keys FROM blocked) AS blocked_keys,
  (SELECT count(*) FROM (SELECT 1 FROM outbox_messages WHERE status = 'dead'
                         LIMIT (SELECT n FROM bound)) AS t) AS dead,
  (SELECT count(*) FROM (SELECT 1 FROM outbox_messages WHERE status = 'discarded'
                         LIMIT (SELECT n FROM bound)) AS t) AS discarded,
  (SELECT published FROM firsts) AS published,
  (SELECT any_status FROM firsts) AS any_status,
  (SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'outbox_messages'::regclass) AS estimated_rows,
  (SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = 'outbox_messages_pending'::regclass) AS estimated_pending,
  (SELECT min(first.since) FROM generate_series(0, 63) AS b(bucket), LATERAL (
     SELECT CASE WHEN m.attempts > 0 THEN m.created_at ELSE greatest(m.created_at, m.available_at) END AS since
     FROM outbox_messages AS m
     WHERE m.bucket = b.bucket AND m.status = 'pending'
       AND (m.attempts > 0 OR m.available_at <= clock_timestamp())
     ORDER BY m.seq LIMIT 1) AS first) AS oldest_pending,
  clock_timestamp() AS now
