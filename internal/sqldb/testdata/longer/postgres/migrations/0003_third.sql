-- Leaves: third.id
CREATE TABLE third (id integer);
