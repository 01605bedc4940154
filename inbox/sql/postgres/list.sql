-- One page, newest first, along the index (consumer, processed_at); the rest filters what it yields. A cursor
-- bounds the index scan by its time, and the event id decides among rows of the same time.
-- $1 consumer, $2 event id, $3 topic, $4 correlation id, $5 since, $6 until, $7 cursor's time, $8 cursor's event id, $9 limit.
SELECT event_id, topic, payload_hash, correlation_id, occurred_at, processed_at
FROM pulse.processed_events
WHERE consumer = $1
  AND ($2 = '' OR event_id = $2)
  AND ($3 = '' OR topic = $3)
  AND ($4 = '' OR correlation_id = $4)
  AND processed_at >= coalesce($5::timestamptz, '-infinity')
  AND processed_at < coalesce($6::timestamptz, 'infinity')
  AND processed_at <= coalesce($7::timestamptz, 'infinity')
  AND ($7::timestamptz IS NULL OR processed_at < $7 OR event_id < $8)
ORDER BY processed_at DESC, event_id DESC
LIMIT $9
