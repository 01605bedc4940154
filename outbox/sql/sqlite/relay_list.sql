-- Relays with the buckets whose leases they hold. Both tables are tiny. Who expires later than its TTL from now has
-- given its sign before the clock was set back, and none since.
SELECT r.owner, r.host, r.started_at, r.expires_at,
       r.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')
         AND r.expires_at < strftime('%Y-%m-%d %H:%M:%f000', 'now', format('%.3f seconds', (r.ttl + 1000) / 1e3)) AS live,
       (SELECT json_group_array(bucket) FROM (
          SELECT l.bucket FROM pulse.outbox_leases AS l
          WHERE l.owner = r.owner AND l.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')
          ORDER BY l.bucket)) AS buckets
FROM pulse.outbox_relays AS r
ORDER BY r.owner
