-- The next rows that a purge looks at: up to which seq, and whether any was
-- enqueued before the cutoff.
--
-- Plan: the primary key from where the last chunk ended, so that a run looks
-- at each old row once, and needs no index on published_at, which would cost
-- every message an entry. seq and created_at rise together and nothing is
-- settled before it is created: a chunk without old rows is the end.
SELECT coalesce(max(seq), 0) AS last,
       coalesce(bool_or(created_at < clock_timestamp() - ?::bigint * interval '1 microsecond'), false) AS old
FROM (
  SELECT seq, created_at FROM pulse.outbox_messages
  WHERE seq > ?::bigint ORDER BY seq LIMIT ?::bigint
) AS chunk
