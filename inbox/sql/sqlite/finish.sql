-- The message did not take the process down: nothing is left of its starts.
-- ?1 consumer, ?2 event id.
DELETE FROM pulse.inbox_attempts WHERE consumer = ?1 AND event_id = ?2
