-- More of an intervention that goes on.
-- $1 id, $2 how many more messages, $3 the ids of the first.
UPDATE pulse.outbox_audit SET count = count + $2::bigint, ids = $3::text::jsonb WHERE id = $1::bigint
