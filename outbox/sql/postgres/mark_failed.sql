-- Writes back what the broker has refused or cannot be sent: to be tried again
-- after a delay, or dead. Returns the seqs it did so for. Fence and plan are those
-- of mark_published. A row that counts more attempts than when it was read has them
-- from this very write-back, whose commit was carried out without the relay learning it.
WITH held AS MATERIALIZED (
  SELECT l.bucket
  FROM pulse.outbox_leases AS l
  JOIN jsonb_to_recordset($1::text::jsonb) AS a(bucket smallint, token bigint) ON a.bucket = l.bucket AND a.token = l.token
  ORDER BY l.bucket
  FOR KEY SHARE OF l
),
open AS MATERIALIZED (
  SELECT array_agg(bucket) AS buckets, 'pending' AS status FROM held
)
UPDATE pulse.outbox_messages AS m
SET status = f.status, attempts = m.attempts + 1, last_error = f.error,
    available_at = clock_timestamp() + f.delay * interval '1 microsecond', rescheduled_at = clock_timestamp()
FROM jsonb_to_recordset($2::text::jsonb) AS f(seq bigint, id uuid, status text, delay bigint, error text, attempts integer)
WHERE m.seq = f.seq AND (m.id = f.id) IS TRUE AND m.attempts <= f.attempts
  AND m.bucket = ANY ((SELECT buckets FROM open)::smallint[]) AND m.status = (SELECT status FROM open)
RETURNING m.seq
