-- A relay's sign of life: prolongs its entry among the living and its leases,
-- and forgets relays that have been gone for a day. Returns the leases that are
-- still its own; an expired one that nobody has taken is.
-- Rows are locked in the order of buckets, as everywhere.
WITH alive AS (
  INSERT INTO outbox_relays (owner, host, expires_at)
  VALUES (?, ?, clock_timestamp() + ?::bigint * interval '1 millisecond')
  ON CONFLICT (owner) DO UPDATE SET host = excluded.host, expires_at = excluded.expires_at
),
gone AS (
  DELETE FROM outbox_relays WHERE owner <> ? AND expires_at < clock_timestamp() - interval '1 day'
),
mine AS MATERIALIZED (
  SELECT l.bucket
  FROM outbox_leases AS l
  JOIN jsonb_to_recordset(?::text::jsonb) AS a(bucket smallint, token bigint) ON a.bucket = l.bucket AND a.token = l.token
  ORDER BY l.bucket
  FOR NO KEY UPDATE OF l
)
UPDATE outbox_leases AS l SET expires_at = clock_timestamp() + ?::bigint * interval '1 millisecond'
FROM mine WHERE l.bucket = mine.bucket
RETURNING l.bucket
