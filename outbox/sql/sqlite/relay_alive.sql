-- A relay's sign of life. The count of those whose has not run out makes fair shares.
INSERT INTO pulse.outbox_relays (owner, host, expires_at)
VALUES (?, ?, strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', ? / 1e3)))
ON CONFLICT (owner) DO UPDATE SET host = excluded.host, expires_at = excluded.expires_at
