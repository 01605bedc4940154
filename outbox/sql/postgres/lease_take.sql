-- Takes leases that nobody holds, each under a new token. Which those are, the relay has decided by what it has seen: a
-- row that was renewed or taken meanwhile shows another time. The token is random: in a database that has gone back,
-- the next number was given out before. Rows that are locked are being written under, or taken by another relay: they
-- are left alone.
-- $1 how many, $2 those seen, $3 owner, $4 token, $5 milliseconds.
WITH free AS MATERIALIZED (
  SELECT bucket FROM pulse.outbox_leases
  WHERE (bucket, token, expires_at::text) IN (
    SELECT s.bucket, s.token, s.stamp FROM jsonb_to_recordset($2::text::jsonb) AS s(bucket smallint, token bigint, stamp text))
  ORDER BY bucket
  LIMIT $1::bigint
  FOR UPDATE SKIP LOCKED
)
UPDATE pulse.outbox_leases AS l
SET owner = $3, token = $4::bigint, ttl = $5::bigint, taken_at = clock_timestamp(),
    expires_at = clock_timestamp() + $5::bigint * interval '1 millisecond'
FROM free WHERE l.bucket = free.bucket
RETURNING l.bucket, l.token
