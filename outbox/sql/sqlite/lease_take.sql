-- Takes leases that nobody holds, each under a new token.
UPDATE pulse.outbox_leases
SET owner = ?2, token = token + 1, expires_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', ?3 / 1e3))
WHERE bucket IN (
  SELECT bucket FROM pulse.outbox_leases
  WHERE expires_at <= strftime('%Y-%m-%d %H:%M:%f000', 'now')
  ORDER BY bucket
  LIMIT ?1)
RETURNING bucket, token
