-- Stores nothing, if the user may store messages and the server takes writes; else it fails as storing one would.
INSERT INTO pulse.outbox_messages (topic, type, payload)
SELECT '', '', CAST('' AS bytea) WHERE false
