-- Leaves: first.name
ALTER TABLE first ADD COLUMN name text;
