-- Who holds up the session of a process: the first of those that it waits for. 0 stands for a prepared transaction, which
-- no session has.
-- $1 process.
SELECT b.pid, coalesce(a.application_name, '') AS application, coalesce(pg_catalog.host(a.client_addr), '') AS client,
  coalesce(a.state, '') AS state, coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change), 0)::pg_catalog.float8 AS seconds
FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1)) AS b (pid)
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = b.pid
ORDER BY a.state_change
LIMIT 1
