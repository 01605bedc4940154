CREATE TABLE third (id integer);
