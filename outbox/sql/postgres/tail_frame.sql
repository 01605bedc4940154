-- What this snapshot knows, for those who follow the table: see lane_read.
SELECT pg_current_snapshot()::text AS snapshot, age('3'::xid)::bigint AS age, clock_timestamp() AS now,
       (SELECT coalesce(max(seq), 0) FROM pulse.outbox_messages) AS top
