-- Marks what the broker has taken as published, and returns the seqs it did so
-- for; it refuses the others.
--
-- The fence: only this transaction writes, so that nobody can take a lease over
-- between the look at its token and the write.
--
-- Rows are told by seq and id: in a database that has gone back, another message
-- may have the seq by now.
--
-- Plan: messages by primary key; +status keeps the planner from the index of
-- states.
UPDATE pulse.outbox_messages SET status = 'published', published_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
WHERE seq IN (SELECT value FROM json_each(?2)) AND id IN (SELECT value FROM json_each(?3))
  AND +status = 'pending'
  AND bucket IN (
    SELECT l.bucket
    FROM json_each(?1) AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.value ->> 'bucket' AND l.token = a.value ->> 'token')
RETURNING seq
