-- The next rows that a purge looks at: up to which seq, whether any was
-- enqueued before the cutoff, and how many were settled before it.
--
-- Plan: the primary key from where the last chunk ended, so that a run looks
-- at each old row once, and needs no index on published_at, which would cost
-- every message an entry. seq and created_at rise together and nothing is
-- settled before it is created: a chunk without old rows is the end.
SELECT coalesce(max(seq), 0) AS last,
       coalesce(bool_or(created_at < cutoff), false) AS old,
       count(*) FILTER (WHERE status IN ('published', 'discarded') AND coalesce(published_at, discarded_at) < cutoff) AS settled
FROM (
  SELECT *, clock_timestamp() - $1::bigint * interval '1 microsecond' AS cutoff FROM pulse.outbox_messages
  WHERE seq > $2::bigint ORDER BY seq LIMIT $3::bigint
) AS chunk
