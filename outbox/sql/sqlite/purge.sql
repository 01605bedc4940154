-- Deletes what was settled before the cutoff among the rows of a chunk.
-- Plan: the primary key.
DELETE FROM pulse.outbox_messages
WHERE seq > ?1 AND seq <= ?2 AND status IN ('published', 'discarded')
  AND coalesce(published_at, discarded_at) < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', ?3 / 1e6))
