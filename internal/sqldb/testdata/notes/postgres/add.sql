INSERT INTO pulse.notes (id, text) VALUES (?, ?)
