-- The count tells relays that rows they have passed may be free now. It comes
-- first, so that the transaction writes before it reads.
UPDATE pulse.outbox_leases SET interventions = interventions + 1
WHERE bucket IN (SELECT bucket FROM pulse.outbox_messages WHERE id IN (SELECT value FROM json_each(?1)))
