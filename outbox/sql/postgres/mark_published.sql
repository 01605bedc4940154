-- Marks what the broker has taken as published, and returns the seqs it did so
-- for; it refuses the others.
--
-- The fence: the lease rows are locked before any message is touched, and in
-- one order. Whoever takes a bucket over waits for that lock, or has had it
-- first: then the token has changed and the rows of that bucket are left alone.
-- To compare the token without the lock would not do: an UPDATE that waits for a
-- row's lock goes on with the token it saw before. Renewing a lease changes no
-- key, and so does not meet this lock.
--
-- Rows are told by seq and id: in a database that has gone back, another message
-- may have the seq by now.
--
-- Plan: messages by primary key. Id, buckets and status are conditions that the
-- planner cannot see through, or it would read all that is pending in a bucket
-- as soon as its statistics say that this is little.
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
UPDATE pulse.outbox_messages AS m SET status = 'published', published_at = clock_timestamp()
FROM unnest(ARRAY(SELECT jsonb_array_elements_text($2::text::jsonb)::bigint),
            ARRAY(SELECT jsonb_array_elements_text($3::text::jsonb)::uuid)) AS sent(seq, id)
WHERE m.seq = sent.seq AND (m.id = sent.id) IS TRUE
  AND m.bucket = ANY ((SELECT buckets FROM open)::smallint[]) AND m.status = (SELECT status FROM open)
RETURNING m.seq
