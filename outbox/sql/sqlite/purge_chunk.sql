-- The next rows that a purge looks at: up to which seq, whether any was
-- enqueued before the cutoff, how many were settled before it, and for how many
-- microseconds the first of these could have been deleted.
--
-- Plan: the primary key from where the last chunk ended, so that a run looks
-- at each old row once, and needs no index on published_at, which would cost
-- every message an entry. seq and created_at rise together and nothing is
-- settled before it is created: a chunk without old rows is the end.
SELECT coalesce(max(seq), 0) AS last,
       coalesce(max(created_at < cutoff), 0) AS old,
       count(*) FILTER (WHERE status IN ('published', 'discarded') AND settled_at < cutoff) AS settled,
       coalesce(CAST((unixepoch('now', 'subsec') - unixepoch(
         min(settled_at) FILTER (WHERE status IN ('published', 'discarded') AND settled_at < cutoff),
       'subsec')) * 1e6 AS integer) - ?1, 0) AS overdue
FROM (
  SELECT seq, created_at, status, coalesce(published_at, discarded_at) AS settled_at,
         strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', ?1 / 1e6)) AS cutoff
  FROM pulse.outbox_messages
  WHERE seq > ?2 ORDER BY seq LIMIT ?3
) AS chunk
