-- Sets messages aside for good and keeps the reason before the last error.
UPDATE pulse.outbox_messages
SET status = 'discarded', discarded_at = clock_timestamp(),
    last_error = concat_ws('; ', 'discarded: ' || $1::text, nullif(last_error, ''))
WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb)::uuid))
  AND status IN ('pending', 'dead')
RETURNING id
