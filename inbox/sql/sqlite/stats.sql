-- Counts stop at ?2, so that the answer costs the same on a big table; the ends of the range come from the index.
-- ?1 consumer, ?2 where to stop counting.
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM pulse.processed_events WHERE consumer = ?1 LIMIT ?2)) AS applied,
  (SELECT min(processed_at) FROM pulse.processed_events WHERE consumer = ?1) AS oldest,
  (SELECT max(processed_at) FROM pulse.processed_events WHERE consumer = ?1) AS newest,
  (SELECT count(*) FROM (SELECT 1 FROM pulse.inbox_attempts WHERE consumer = ?1 LIMIT ?2)) AS suspects
