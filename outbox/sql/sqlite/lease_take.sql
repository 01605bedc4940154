-- Takes leases that nobody holds, each under a new token. Which those are, the relay has decided by what it has seen: a
-- row that was renewed or taken meanwhile shows another time. The token is random: in a database that has gone back,
-- the next number was given out before.
-- ?1 how many, ?2 those seen, ?3 owner, ?4 token, ?5 milliseconds.
UPDATE pulse.outbox_leases
SET owner = ?3, token = ?4, ttl = ?5, taken_at = strftime('%Y-%m-%d %H:%M:%f000', 'now'),
    expires_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', ?5 / 1e3))
WHERE bucket IN (
  SELECT bucket FROM pulse.outbox_leases
  WHERE (bucket, token, expires_at) IN (SELECT value ->> 'bucket', value ->> 'token', value ->> 'stamp' FROM json_each(?2))
  ORDER BY bucket
  LIMIT ?1)
RETURNING bucket, token
