-- Counts one more start and returns how many are unfinished.
-- $1 consumer, $2 event id.
INSERT INTO pulse.inbox_attempts (consumer, event_id, started) VALUES ($1, $2, 1)
ON CONFLICT (consumer, event_id) DO UPDATE SET started = inbox_attempts.started + 1, started_at = clock_timestamp()
RETURNING started
