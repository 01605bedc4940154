-- Leaves: first.id
-- More than one statement in a step.
CREATE TABLE first (id integer PRIMARY KEY);
INSERT INTO first VALUES (1);
