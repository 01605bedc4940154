-- A relay's sign of life. The count of those whose has not run out makes fair shares.
INSERT INTO pulse.outbox_relays (owner, host, expires_at)
VALUES (?, ?, clock_timestamp() + ?::bigint * interval '1 millisecond')
ON CONFLICT (owner) DO UPDATE SET host = excluded.host, expires_at = excluded.expires_at
