-- What is pending now, for Drain: rows up to the highest seq that are due at the database's present.
SELECT coalesce(max(seq), 0) AS top, clock_timestamp()::text AS at FROM pulse.outbox_messages
