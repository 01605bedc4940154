-- Relays with the buckets whose leases they hold. Both tables are tiny.
SELECT r.owner, r.host, r.started_at, r.expires_at, r.expires_at > clock_timestamp() AS live,
       (SELECT coalesce(jsonb_agg(l.bucket ORDER BY l.bucket), '[]')
        FROM pulse.outbox_leases AS l WHERE l.owner = r.owner AND l.expires_at > clock_timestamp())::text AS buckets
FROM pulse.outbox_relays AS r
ORDER BY r.owner
