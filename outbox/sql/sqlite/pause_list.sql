-- What is paused, in the order of names; that of all topics comes first.
SELECT topic, since, actor, reason FROM pulse.outbox_pauses ORDER BY topic
