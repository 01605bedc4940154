-- Who holds locks on the leases, the longest first: where rows stay locked, that is why. Sessions of other users show
-- little without pg_read_all_stats.
SELECT a.pid, coalesce(a.application_name, '') AS name, coalesce(a.usename::text, '') AS role,
       coalesce(host(a.client_addr), '') AS address, coalesce(a.state, '') AS state,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8 AS seconds
FROM pg_locks AS k JOIN pg_stat_activity AS a ON a.pid = k.pid
WHERE k.granted AND k.relation = 'pulse.outbox_leases'::regclass AND k.mode <> 'AccessShareLock' AND k.pid <> pg_backend_pid()
  AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY a.xact_start
LIMIT 3
