-- What is pending now, for Drain: rows up to the highest seq that are due at the database's present.
SELECT coalesce(max(seq), 0) AS top, strftime('%Y-%m-%d %H:%M:%f000', 'now') AS at FROM pulse.outbox_messages
