-- Makes the rows of leases that are not there: somebody has emptied the table, or copied it without its rows.
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < 63)
INSERT INTO pulse.outbox_leases (bucket)
SELECT n FROM numbers WHERE true
ON CONFLICT (bucket) DO NOTHING
