-- Pauses a topic, or all where it is empty. What is paused already stays as it is.
-- ?1 topic, ?2 actor, ?3 reason, ?4 how many pauses there may be.
INSERT INTO pulse.outbox_pauses (topic, actor, reason)
SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM pulse.outbox_pauses) < ?4
ON CONFLICT (topic) DO NOTHING
RETURNING topic
