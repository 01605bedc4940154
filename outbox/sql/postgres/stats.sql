-- How the outbox stands, at a cost that does not grow with the table. $1 bounds every count.
--
-- Plan: every count reads a partial index, no further than the bound. The
-- bound is a parameter at each LIMIT, which the planner sees; from a sub-select
-- it would expect a tenth of the table, and compile the query for it.
-- firsts takes the first due row of each of the 64 buckets, which an index on
-- (bucket, seq) yields at once, while min() over all would read them all. The
-- oldest of them is the oldest pending; and a backlog beyond the bound is about
-- as long as what was written since the median of them: a few stuck keys do not
-- move it, and the statistics of an index that is mostly empty know nothing.
-- Published rows have no index: unless the table's statistics say that it is
-- long, it is read up to ten times the bound, and exact where it ends before.
WITH whole_table AS (
  -- The density as of the last vacuum or analyze, on the pages there are now.
  SELECT CASE WHEN reltuples > 0 AND relpages > 0
              THEN reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::bigint)
              ELSE 0 END AS n
  FROM pg_class WHERE oid = 'pulse.outbox_messages'::regclass
),
table_start AS (
  SELECT count(*) AS any_status, count(*) FILTER (WHERE status = 'published') AS published
  FROM (SELECT status FROM pulse.outbox_messages
        WHERE (SELECT n < 20 * $1::bigint FROM whole_table)
        LIMIT 10 * $1::bigint) AS t
),
firsts AS MATERIALIZED (
  SELECT first.seq, CASE WHEN first.attempts > 0 THEN first.created_at
                         ELSE greatest(first.created_at, first.available_at) END AS due
  FROM generate_series(0, 63) AS b(bucket), LATERAL (
    SELECT m.seq, m.attempts, m.created_at, m.available_at FROM pulse.outbox_messages AS m
    WHERE m.bucket = b.bucket AND m.status = 'pending' AND (m.attempts > 0 OR m.available_at <= greatest(clock_timestamp(), m.created_at))
    ORDER BY m.seq LIMIT 1) AS first
),
heads AS MATERIALIZED (
  SELECT key, bucket, min(seq) AS seq FROM (
    SELECT key, bucket, seq FROM pulse.outbox_messages
    WHERE status IN ('pending', 'dead') AND attempts > 0 AND key <> ''
    LIMIT $1::bigint) AS failed
  GROUP BY key, bucket
),
-- Who might wait: the pending rows of the heads' buckets.
waiting AS MATERIALIZED (
  SELECT m.key, m.seq FROM (SELECT DISTINCT bucket FROM heads) AS b, LATERAL (
    SELECT key, seq FROM pulse.outbox_messages
    WHERE bucket = b.bucket AND status = 'pending' ORDER BY seq LIMIT $1::bigint) AS m
  LIMIT $1::bigint
)
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'pending'
                         ORDER BY bucket, seq LIMIT $1::bigint) AS t) AS pending,
  (SELECT max(seq) FROM pulse.outbox_messages)
    - (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY seq) FROM firsts) AS estimated_pending,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'pending' AND attempts > 0
                         LIMIT $1::bigint) AS t) AS retrying,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages
                         WHERE status = 'pending' AND attempts = 0
                           AND available_at > created_at AND available_at > clock_timestamp()
                         LIMIT $1::bigint) AS t) AS delayed,
  (SELECT count(*) FROM waiting AS w JOIN heads AS h ON h.key = w.key AND h.seq < w.seq) AS blocked,
  (SELECT count(*) < $1::bigint FROM waiting) AS blocked_exact,
  (SELECT count(*) FROM heads) AS blocked_keys,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'dead' LIMIT $1::bigint) AS t) AS dead,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.outbox_messages WHERE status = 'discarded' LIMIT $1::bigint) AS t) AS discarded,
  (SELECT published FROM table_start) AS published,
  (SELECT t.any_status < 10 * $1::bigint AND w.n < 20 * $1::bigint
   FROM table_start AS t, whole_table AS w) AS published_exact,
  (SELECT n FROM whole_table) AS estimated_rows,
  (SELECT min(due) FROM firsts) AS oldest_pending,
  clock_timestamp() AS now
