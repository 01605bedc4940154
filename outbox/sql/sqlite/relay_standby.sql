-- A relay lives that cannot publish: it is seen, and not counted for shares.
INSERT INTO pulse.outbox_relays (owner, host, expires_at)
VALUES (?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now'))
ON CONFLICT (owner) DO UPDATE SET host = excluded.host, expires_at = excluded.expires_at
