-- The next rows that a purge looks at: up to which seq, whether any was
-- enqueued before the cutoff, and how many were settled before it.
--
-- Plan: the primary key from where the last chunk ended, so that a run looks
-- at each old row once, and needs no index on published_at, which would cost
-- every message an entry. seq and created_at rise together and nothing is
-- settled before it is created: a chunk without old rows is the end.
SELECT coalesce(max(seq), 0) AS last,
       coalesce(max(created_at < cutoff), 0) AS old,
       count(*) FILTER (WHERE status IN ('published', 'discarded') AND coalesce(published_at, discarded_at) < cutoff) AS settled
FROM (
  SELECT seq, created_at, status, published_at, discarded_at,
         strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', ?1 / 1e6)) AS cutoff
  FROM pulse.outbox_messages
  WHERE seq > ?2 ORDER BY seq LIMIT ?3
) AS chunk
