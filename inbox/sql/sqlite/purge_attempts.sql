-- Starts whose message never came again. The table is small: no index but its key.
-- ?1 consumer, ?2 retention in seconds.
DELETE FROM pulse.inbox_attempts
WHERE consumer = ?1 AND started_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', ?2))
