-- Takes an instance off the list, and those that have said nothing for a day.
-- ?1 consumer, ?2 instance.
DELETE FROM pulse.inbox_instances
WHERE consumer = ?1 AND (instance = ?2 OR seen_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 day'))
