-- One page, newest first, along the index (consumer, processed_at) and its event ids; the rest filters what it
-- yields. The index scan takes one bound from above, the lower of until and cursor; + keeps the others from it.
-- ?1 consumer, ?2 event id, ?3 topic, ?4 correlation id, ?5 since, ?6 until, ?7 cursor's time, ?8 cursor's event id, ?9 limit.
SELECT event_id, topic, payload_hash, correlation_id, occurred_at, processed_at
FROM pulse.processed_events
WHERE consumer = ?1
  AND (?2 = '' OR event_id = ?2)
  AND (?3 = '' OR topic = ?3)
  AND (?4 = '' OR correlation_id = ?4)
  AND processed_at >= coalesce(?5, '')
  AND processed_at <= min(coalesce(?6, '~'), coalesce(?7, '~'))
  AND +processed_at < coalesce(?6, '~')
  AND (?7 IS NULL OR +processed_at < ?7 OR event_id < ?8)
ORDER BY processed_at DESC, event_id DESC
LIMIT ?9
