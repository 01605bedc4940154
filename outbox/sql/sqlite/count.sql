-- How many rows match, counted no further than the limit. The program replaces
-- TRUE as in list.sql; the same indexes serve.
SELECT count(*) FROM (
  SELECT 1 FROM outbox_messages
  WHERE TRUE
  LIMIT ?
) AS matching
