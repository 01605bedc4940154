ALTER TABLE nowhere ADD COLUMN name text;
