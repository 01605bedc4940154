-- Frees leases for whoever comes first. Those that are not the relay's own any
-- more stay as they are.
WITH mine AS MATERIALIZED (
  SELECT l.bucket
  FROM pulse.outbox_leases AS l
  JOIN jsonb_to_recordset($1::text::jsonb) AS a(bucket smallint, token bigint) ON a.bucket = l.bucket AND a.token = l.token
  ORDER BY l.bucket
  FOR UPDATE OF l
)
UPDATE pulse.outbox_leases AS l SET owner = '', expires_at = '-infinity'
FROM mine WHERE l.bucket = mine.bucket
