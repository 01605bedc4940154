-- Forgets relays that have been gone for a day.
DELETE FROM pulse.outbox_relays
WHERE owner <> ?1 AND expires_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', '-1 day')
