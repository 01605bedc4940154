-- Prolongs a relay's leases and returns those that are still its own; an expired one that nobody has taken is. One
-- that somebody has locked is returned and not renewed: the others do not wait for it. Write-backs hold a weaker lock, which
-- renewing does not meet.
-- $1 leases, $2 milliseconds.
WITH asked AS MATERIALIZED (
  SELECT bucket, token FROM jsonb_to_recordset($1::text::jsonb) AS a(bucket smallint, token bigint)
),
mine AS MATERIALIZED (
  SELECT l.bucket
  FROM pulse.outbox_leases AS l JOIN asked AS a ON a.bucket = l.bucket AND a.token = l.token
  ORDER BY l.bucket
  FOR NO KEY UPDATE OF l SKIP LOCKED
),
renewed AS (
  UPDATE pulse.outbox_leases AS l
  SET ttl = $2::bigint, expires_at = clock_timestamp() + $2::bigint * interval '1 millisecond'
  FROM mine WHERE l.bucket = mine.bucket
  RETURNING l.bucket
)
SELECT l.bucket, l.bucket IN (SELECT bucket FROM renewed) AS renewed
FROM pulse.outbox_leases AS l JOIN asked AS a ON a.bucket = l.bucket AND a.token = l.token
