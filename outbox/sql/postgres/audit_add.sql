-- An intervention, in the transaction of its effect.
-- $1 actor, $2 action, $3 reason, $4 filter, $5 how many messages, $6 their ids.
INSERT INTO pulse.outbox_audit (actor, action, reason, filter, count, ids)
VALUES ($1, $2, $3, $4::text::jsonb, $5::bigint, $6::text::jsonb)
RETURNING id
