-- A relay's sign of life. The count of those whose has not run out makes fair shares.
-- ?1 owner, ?2 host, ?3 milliseconds, ?4 sign, ?5 the service it publishes for, ?6 the version of its library.
INSERT INTO pulse.outbox_relays (owner, host, ttl, sign, producer, version, signed_at, expires_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, strftime('%Y-%m-%d %H:%M:%f000', 'now'), strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', ?3 / 1e3)))
ON CONFLICT (owner) DO UPDATE SET host = excluded.host, ttl = excluded.ttl, sign = excluded.sign, producer = excluded.producer,
  version = excluded.version, signed_at = excluded.signed_at, expires_at = excluded.expires_at
