-- The instances of a consumer. The table is tiny.
-- $1 consumer, $2 seconds after which one that says nothing counts as gone.
SELECT instance, queue, retry_delays, subscribed, held, oldest_held_at, started_at, seen_at,
       seen_at > clock_timestamp() - make_interval(secs => $2) AS live
FROM pulse.inbox_instances WHERE consumer = $1 ORDER BY instance
