-- Prolongs a relay's leases and returns those that are still its own; an
-- expired one that nobody has taken is. Rows are locked in the order of buckets, as
-- everywhere.
WITH mine AS MATERIALIZED (
  SELECT l.bucket
  FROM pulse.outbox_leases AS l
  JOIN jsonb_to_recordset(?::text::jsonb) AS a(bucket smallint, token bigint) ON a.bucket = l.bucket AND a.token = l.token
  ORDER BY l.bucket
  FOR NO KEY UPDATE OF l
)
UPDATE pulse.outbox_leases AS l SET expires_at = clock_timestamp() + ?::bigint * interval '1 millisecond'
FROM mine WHERE l.bucket = mine.bucket
RETURNING l.bucket
