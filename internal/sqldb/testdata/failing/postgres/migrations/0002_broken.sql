-- Leaves: nowhere.name
ALTER TABLE nowhere ADD COLUMN name text;
