-- Prolongs a relay's leases and returns those that are still its own; an
-- expired one that nobody has taken is.
-- ?1 leases, ?2 milliseconds.
UPDATE pulse.outbox_leases
SET ttl = ?2, expires_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', ?2 / 1e3))
WHERE (bucket, token) IN (SELECT value ->> 'bucket', value ->> 'token' FROM json_each(?1))
RETURNING bucket, 1 AS renewed
