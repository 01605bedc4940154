-- Which rows people look at; list.sql and count.sql have it as their WHERE. One text serves every filter: the planner
-- knows the values (plan_cache_mode) and drops what is not asked for, so that an index of one state, or of time, serves.
-- $1 whatever the state, $2 to $5 these states, $6 only what is being retried, $7 id, $8 topic, $9 type, $10 key,
-- $11 correlation id, $12 pattern for the last error, $13 and $14 since and until, $15 and $16 between these seqs,
-- $17 causation id.
($1::boolean OR $2::boolean AND status = 'pending' OR $3::boolean AND status = 'published'
  OR $4::boolean AND status = 'dead' OR $5::boolean AND status = 'discarded')
  AND (NOT $6::boolean OR status = 'pending' AND attempts > 0)
  AND ($7::uuid IS NULL OR id = $7)
  AND ($8::text = '' OR topic = $8)
  AND ($9::text = '' OR type = $9)
  AND ($10::text = '' OR key = $10)
  AND ($11::text = '' OR correlation_id = $11)
  AND ($12::text = '' OR lower(last_error) LIKE lower($12) ESCAPE E'\\')
  AND ($13::timestamptz IS NULL OR created_at >= $13)
  AND ($14::timestamptz IS NULL OR created_at < $14)
  AND seq > $15::bigint AND seq < $16::bigint
  AND ($17::text = '' OR causation_id = $17)
