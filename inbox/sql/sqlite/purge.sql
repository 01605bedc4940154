-- Removes one chunk of what is older than the retention, found by the index and deleted by the primary key. Each
-- chunk is a transaction of its own, short enough that writers wait little.
-- ?1 consumer, ?2 retention in seconds, ?3 size of a chunk.
DELETE FROM pulse.processed_events
WHERE consumer = ?1 AND event_id IN (
  SELECT event_id FROM pulse.processed_events
  WHERE consumer = ?1 AND processed_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', ?2))
  ORDER BY processed_at
  LIMIT ?3
)
