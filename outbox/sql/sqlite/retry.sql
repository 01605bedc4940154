-- A fresh start for failed messages. The last error stays to be read.
-- Plan: the unique index of id; +status keeps the planner from that of states.
UPDATE pulse.outbox_messages
SET status = 'pending', attempts = 0, available_at = strftime('%Y-%m-%d %H:%M:%f000', 'now'), rescheduled_at = strftime('%Y-%m-%d %H:%M:%f000', 'now')
WHERE id IN (SELECT value FROM json_each(?1))
  AND (+status = 'dead' OR +status = 'pending' AND attempts > 0)
RETURNING id
