-- Ends the pause of a topic, or that of all where it is empty.
-- ?1 topic.
DELETE FROM pulse.outbox_pauses WHERE topic = ?1 RETURNING topic
