-- What this snapshot knows, for those who follow the table: see lane_read.
SELECT '1:1:' AS snapshot, -2 AS age, strftime('%Y-%m-%d %H:%M:%f000', 'now') AS now,
       (SELECT coalesce(max(seq), 0) FROM pulse.outbox_messages) AS top
