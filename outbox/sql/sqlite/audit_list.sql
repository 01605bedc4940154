-- Interventions, the newest first. People make them: the table is small.
-- ?1 actor, ?2 action, ?3 id of a message, ?4 since, ?5 until, ?6 before this id, ?7 limit.
SELECT id, at, actor, action, reason, filter, count, ids
FROM pulse.outbox_audit
WHERE (?1 = '' OR actor = ?1) AND (?2 = '' OR action = ?2)
  AND (?3 = '' OR EXISTS (SELECT 1 FROM json_each(ids) AS touched WHERE touched.value = ?3))
  AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR at < ?5) AND id < ?6
ORDER BY id DESC
LIMIT ?7
