-- Sets messages aside for good and keeps the reason before the last error.
-- Plan: the unique index of id.
UPDATE pulse.outbox_messages
SET status = 'discarded', discarded_at = strftime('%Y-%m-%d %H:%M:%f000', 'now'),
    last_error = 'discarded: ' || ?1 || CASE last_error WHEN '' THEN '' ELSE '; ' || last_error END
WHERE id IN (SELECT value FROM json_each(?2))
  AND status IN ('pending', 'dead')
RETURNING id
