-- Takes leases that nobody holds, each under a new token. Ones that are locked
-- are being written under, or taken by another relay: they are left alone.
WITH free AS MATERIALIZED (
  SELECT bucket FROM pulse.outbox_leases
  WHERE expires_at <= clock_timestamp()
  ORDER BY bucket
  LIMIT ?::bigint
  FOR UPDATE SKIP LOCKED
)
UPDATE pulse.outbox_leases AS l
SET owner = ?, token = l.token + 1, expires_at = clock_timestamp() + ?::bigint * interval '1 millisecond'
FROM free WHERE l.bucket = free.bucket
RETURNING l.bucket, l.token
