-- Frees leases for whoever comes first. Those that are not the relay's own any
-- more stay as they are.
UPDATE pulse.outbox_leases SET owner = '', expires_at = '0001-01-01 00:00:00.000000'
WHERE (bucket, token) IN (SELECT value ->> 'bucket', value ->> 'token' FROM json_each(?1))
