-- What a relay's fair share depends on: how many others live, how many of
-- them come before it by name, and how many buckets are free.
WITH clock AS MATERIALIZED (SELECT strftime('%Y-%m-%d %H:%M:%f000', 'now') AS now)
SELECT (SELECT count(*) FROM pulse.outbox_relays WHERE owner <> ? AND expires_at > now) AS others,
       (SELECT count(*) FROM pulse.outbox_relays WHERE owner < ? AND expires_at > now) AS before,
       (SELECT count(*) FROM pulse.outbox_leases WHERE expires_at <= now) AS free
FROM clock
