-- Starts of a message that were not finished, by consumer. The table is small: no index but its key.
-- $1 event id.
SELECT consumer, started, started_at FROM pulse.inbox_attempts WHERE event_id = $1 ORDER BY consumer
