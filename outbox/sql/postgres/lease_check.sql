-- What a relay's fair share depends on: how many others live, how many of
-- them come before it by name, and how many buckets are free.
SELECT (SELECT count(*) FROM pulse.outbox_relays WHERE owner <> ? AND expires_at > clock_timestamp()) AS others,
       (SELECT count(*) FROM pulse.outbox_relays WHERE owner < ? AND expires_at > clock_timestamp()) AS before,
       (SELECT count(*) FROM pulse.outbox_leases WHERE expires_at <= clock_timestamp()) AS free
