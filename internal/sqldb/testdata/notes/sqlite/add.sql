INSERT INTO pulse.notes (id, text) VALUES (?1, ?2)
