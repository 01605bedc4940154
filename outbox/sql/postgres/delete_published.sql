-- Deletes what the broker has taken, where mark_published would keep it, and
-- returns the seqs. Fence and plan are those of mark_published.
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
DELETE FROM pulse.outbox_messages AS m
USING unnest(ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint),
             ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)::uuid)) AS sent(seq, id)
WHERE m.seq = sent.seq AND (m.id = sent.id) IS TRUE
  AND m.bucket = ANY ((SELECT buckets FROM open)::smallint[]) AND m.status = (SELECT status FROM open)
RETURNING m.seq
