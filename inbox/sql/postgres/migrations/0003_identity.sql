-- Leaves: processed_events.type
-- What the event was called: the same id under another name is a conflict, as with another body. Rows from before
-- have none, and are compared by what they have.

ALTER TABLE processed_events ADD COLUMN type text;
