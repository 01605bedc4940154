-- Relays with the buckets whose leases they hold. Both tables are tiny. Who expires later than its TTL from now has
-- given its sign before the clock was set back, and none since.
SELECT r.owner, r.host, r.started_at, r.expires_at,
       r.expires_at > clock_timestamp() AND r.expires_at < clock_timestamp() + (r.ttl + 1000) * interval '1 millisecond' AS live,
       (SELECT coalesce(jsonb_agg(l.bucket ORDER BY l.bucket), '[]')
        FROM pulse.outbox_leases AS l WHERE l.owner = r.owner AND l.expires_at > clock_timestamp())::text AS buckets
FROM pulse.outbox_relays AS r
ORDER BY r.owner
