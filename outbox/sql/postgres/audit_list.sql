-- Interventions, the newest first. People make them: the table is small.
-- $1 actor, $2 action, $3 id of a message, $4 since, $5 until, $6 before this id, $7 limit.
SELECT id, at, actor, action, reason, filter::text AS filter, count, ids::text AS ids
FROM pulse.outbox_audit
WHERE ($1::text = '' OR actor = $1) AND ($2::text = '' OR action = $2) AND ($3::text = '' OR jsonb_exists(ids, $3))
  AND ($4::timestamptz IS NULL OR at >= $4) AND ($5::timestamptz IS NULL OR at < $5) AND id < $6::bigint
ORDER BY id DESC
LIMIT $7::bigint
