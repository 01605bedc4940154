-- A fresh start for failed messages. The last error stays to be read.
UPDATE pulse.outbox_messages
SET status = 'pending', attempts = 0, available_at = clock_timestamp(), rescheduled_at = clock_timestamp()
WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::uuid))
  AND (status = 'dead' OR status = 'pending' AND attempts > 0)
RETURNING id
