-- Says that an instance lives and what it holds.
-- $1 consumer, $2 instance, $3 queue, $4 retry delays, $5 subscribed, $6 held, $7 age of the oldest held in milliseconds.
INSERT INTO pulse.inbox_instances (consumer, instance, queue, retry_delays, subscribed, held, oldest_held_at)
VALUES ($1, $2, $3, $4, $5, $6,
        CASE WHEN $6::integer > 0 THEN clock_timestamp() - $7::bigint * interval '1 millisecond' END)
ON CONFLICT (consumer, instance) DO UPDATE
SET queue = excluded.queue, retry_delays = excluded.retry_delays, subscribed = excluded.subscribed,
    held = excluded.held, oldest_held_at = excluded.oldest_held_at, seen_at = clock_timestamp()
