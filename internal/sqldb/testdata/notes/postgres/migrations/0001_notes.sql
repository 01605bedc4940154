-- Leaves: notes.id
CREATE TABLE notes (id integer PRIMARY KEY);
