SELECT id, text FROM pulse.notes ORDER BY id
