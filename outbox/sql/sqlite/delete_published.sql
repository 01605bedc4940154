-- Deletes what the broker has taken, where mark_published would keep it, and
-- returns the seqs. Fence and plan are those of mark_published.
DELETE FROM pulse.outbox_messages
WHERE seq IN (SELECT value FROM json_each(?2)) AND id IN (SELECT value FROM json_each(?3))
  AND +status = 'pending'
  AND bucket IN (
    SELECT l.bucket
    FROM json_each(?1) AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.value ->> 'bucket' AND l.token = a.value ->> 'token')
RETURNING seq
