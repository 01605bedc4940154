-- How many rows match, counted no further than the limit, ?18. TRUE stands for
-- the filters that are set, as in list.sql; the same indexes serve.
SELECT count(*) FROM (
  SELECT 1 FROM pulse.outbox_messages
  WHERE TRUE
  LIMIT ?18
) AS matching
