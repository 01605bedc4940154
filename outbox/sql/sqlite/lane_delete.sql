-- Deletes published messages, where lane_settle would keep them, and returns
-- their seqs. Fence and plan are those of lane_settle; +status keeps the planner
-- from the index of states.
DELETE FROM outbox_messages
WHERE seq IN (SELECT value FROM json_each(?2))
  AND +status = 'pending'
  AND bucket IN (
    SELECT l.bucket
    FROM json_each(?1) AS a JOIN outbox_leases AS l ON l.bucket = a.value ->> 'bucket' AND l.token = a.value ->> 'token')
RETURNING seq
