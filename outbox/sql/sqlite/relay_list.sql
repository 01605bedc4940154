-- Relays with the buckets whose leases they hold. Both tables are tiny. Who expires later than its TTL from now has
-- given its sign before the clock was set back, and none since. Relays of former versions tell neither when they gave
-- their last sign nor when they took a lease.
SELECT r.owner, r.host, r.started_at, r.expires_at, r.version,
       r.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')
         AND r.expires_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', (r.ttl + 1000) / 1e3)) AS live,
       coalesce(r.signed_at, min(r.expires_at, strftime('%Y-%m-%d %H:%M:%f000', 'now'))) AS signed_at,
       coalesce(r.signed_at, r.expires_at) < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%.3f seconds', r.ttl / 1e3)) AS silent,
       (SELECT json_group_array(bucket) FROM (
          SELECT l.bucket FROM pulse.outbox_leases AS l
          WHERE l.owner = r.owner AND l.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')
          ORDER BY l.bucket)) AS buckets,
       (SELECT max(l.taken_at) FROM pulse.outbox_leases AS l
        WHERE r.version <> '' AND l.owner = r.owner AND l.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')) AS held_since
FROM pulse.outbox_relays AS r
ORDER BY r.owner
