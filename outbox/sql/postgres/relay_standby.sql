-- A relay lives that cannot publish: it is seen, and not counted for shares.
INSERT INTO pulse.outbox_relays (owner, host, expires_at)
VALUES (?, ?, clock_timestamp())
ON CONFLICT (owner) DO UPDATE SET host = excluded.host, expires_at = excluded.expires_at
