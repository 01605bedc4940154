-- Locks the buckets of the messages before the messages themselves, as the
-- write-back of a relay does, and in one order: neither can deadlock with the
-- other. The count tells relays that rows they have passed may be free now.
UPDATE pulse.outbox_leases SET interventions = interventions + 1
WHERE bucket IN (
  SELECT bucket FROM pulse.outbox_leases
  WHERE bucket IN (
    SELECT bucket FROM pulse.outbox_messages
    WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text($1::jsonb)::uuid)))
  ORDER BY bucket
  FOR UPDATE
)
