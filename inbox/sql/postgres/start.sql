-- Notes that a redelivered message is being started; touches no row when an earlier start is unfinished.
-- $1 consumer, $2 event id.
INSERT INTO pulse.inbox_attempts (consumer, event_id, started) VALUES ($1, $2, 1)
ON CONFLICT (consumer, event_id) DO NOTHING
