-- The consumers that share the table: one probe of the primary key for each, however many rows they have.
WITH RECURSIVE names (consumer) AS (
  SELECT min(consumer) FROM pulse.processed_events
  UNION ALL
  SELECT (SELECT min(consumer) FROM pulse.processed_events WHERE consumer > names.consumer)
  FROM names WHERE names.consumer IS NOT NULL
)
SELECT consumer FROM names WHERE consumer IS NOT NULL ORDER BY consumer
