-- Locks the messages in the order of seq and says where they stand.
SELECT id, status FROM pulse.outbox_messages
WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::uuid))
ORDER BY seq
FOR UPDATE
