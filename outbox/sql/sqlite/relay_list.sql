-- Relays with the buckets whose leases they hold. Both tables are tiny.
SELECT r.owner, r.host, r.started_at, r.expires_at, r.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now') AS live,
       (SELECT json_group_array(bucket) FROM (
          SELECT l.bucket FROM pulse.outbox_leases AS l
          WHERE l.owner = r.owner AND l.expires_at > strftime('%Y-%m-%d %H:%M:%f000', 'now')
          ORDER BY l.bucket)) AS buckets
FROM pulse.outbox_relays AS r
ORDER BY r.owner
