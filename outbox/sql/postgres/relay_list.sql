-- Relays with the buckets whose leases they hold. Both tables are tiny. Who expires later than its TTL from now has
-- given its sign before the clock was set back, and none since. Relays of former versions tell neither when they gave
-- their last sign nor when they took a lease.
SELECT r.owner, r.host, r.started_at, r.expires_at, r.version,
       r.expires_at > clock_timestamp() AND r.expires_at < clock_timestamp() + (r.ttl + 1000) * interval '1 millisecond' AS live,
       coalesce(r.signed_at, least(r.expires_at, clock_timestamp())) AS signed_at,
       coalesce(r.signed_at, r.expires_at) < clock_timestamp() - r.ttl * interval '1 millisecond' AS silent,
       held.buckets, CASE WHEN r.version <> '' THEN held.since END AS held_since
FROM pulse.outbox_relays AS r, LATERAL (
  SELECT coalesce(jsonb_agg(l.bucket ORDER BY l.bucket), '[]')::text AS buckets, max(l.taken_at) AS since
  FROM pulse.outbox_leases AS l WHERE l.owner = r.owner AND l.expires_at > clock_timestamp()) AS held
ORDER BY r.owner
