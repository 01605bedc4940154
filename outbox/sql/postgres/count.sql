-- How many rows match, counted no further than the limit, $18. TRUE stands for filter.sql; the same indexes serve as for
-- list.sql.
SELECT count(*) FROM (
  SELECT 1 FROM pulse.outbox_messages
  WHERE TRUE
  LIMIT $18
) AS matching
