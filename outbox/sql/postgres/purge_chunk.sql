-- The next rows that a purge looks at: up to which seq, whether any was
-- enqueued before the cutoff, how many were settled before it, and for how many
-- microseconds the first of these could have been deleted.
--
-- Plan: the primary key from where the last chunk ended, so that a run looks
-- at each old row once, and needs no index on published_at, which would cost
-- every message an entry. seq and created_at rise together and nothing is
-- settled before it is created: a chunk without old rows is the end.
SELECT coalesce(max(seq), 0) AS last,
       coalesce(bool_or(created_at < cutoff), false) AS old,
       count(*) FILTER (WHERE status IN ('published', 'discarded') AND settled_at < cutoff) AS settled,
       coalesce(least((extract(epoch FROM clock_timestamp()) - extract(epoch FROM
         min(settled_at) FILTER (WHERE status IN ('published', 'discarded') AND settled_at < cutoff)
       )) * 1000000 - $1::bigint, 9e15), 0)::bigint AS overdue
FROM (
  SELECT seq, created_at, status, coalesce(published_at, discarded_at) AS settled_at,
         clock_timestamp() - $1::bigint * interval '1 microsecond' AS cutoff
  FROM pulse.outbox_messages
  WHERE seq > $2::bigint ORDER BY seq LIMIT $3::bigint
) AS chunk
