-- How many records match, counted no further than the limit, along the index (consumer, processed_at).
-- ?1 consumer, ?2 event id, ?3 topic, ?4 correlation id, ?5 since, ?6 until, ?7 limit.
SELECT count(*) FROM (
  SELECT 1 FROM pulse.processed_events
  WHERE consumer = ?1
    AND (?2 = '' OR event_id = ?2)
    AND (?3 = '' OR topic = ?3)
    AND (?4 = '' OR correlation_id = ?4)
    AND processed_at >= coalesce(?5, '')
    AND processed_at < coalesce(?6, '~')
  LIMIT ?7
) AS matching
