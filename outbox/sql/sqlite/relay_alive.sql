-- A relay's sign of life. The count of those whose has not run out makes fair shares.
-- ?1 owner, ?2 host, ?3 milliseconds, ?4 sign, ?5 the service it publishes for.
INSERT INTO pulse.outbox_relays (owner, host, ttl, sign, producer, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', ?3 / 1e3)))
ON CONFLICT (owner) DO UPDATE SET host = excluded.host, ttl = excluded.ttl, sign = excluded.sign, producer = excluded.producer, expires_at = excluded.expires_at
