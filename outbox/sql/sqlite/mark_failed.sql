-- Writes back what the broker has refused or cannot be sent: to be tried again
-- after a delay, or dead. Returns the seqs it did so for. Fence and plan are those
-- of mark_published. A row that counts more attempts than when it was read has them
-- from this very write-back, whose commit was carried out without the relay learning it.
WITH failures AS MATERIALIZED (
  SELECT value ->> 'seq' AS seq, value ->> 'id' AS id, value ->> 'status' AS status, value ->> 'delay' AS delay, value ->> 'error' AS error,
         value ->> 'attempts' AS attempts
  FROM json_each(?2)
)
UPDATE pulse.outbox_messages AS m
SET status = f.status, attempts = m.attempts + 1, last_error = f.error,
    available_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', f.delay / 1e6)),
    rescheduled_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
FROM failures AS f
WHERE m.seq = f.seq AND m.id = f.id AND +m.status = 'pending' AND m.attempts <= f.attempts
  AND m.bucket IN (
    SELECT l.bucket
    FROM json_each(?1) AS a JOIN pulse.outbox_leases AS l ON l.bucket = a.value ->> 'bucket' AND l.token = a.value ->> 'token')
RETURNING seq
