-- Leaves: notes.text
ALTER TABLE notes ADD COLUMN text text NOT NULL DEFAULT '';
