-- Who holds locks on messages. Sessions of other users show little without pg_read_all_stats.
-- $1 seqs.
SELECT DISTINCT a.pid, coalesce(a.application_name, '') AS name, coalesce(a.usename::text, '') AS role,
       coalesce(host(a.client_addr), '') AS address, coalesce(a.state, '') AS state,
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::float8 AS seconds, min(m.id::text) AS message
FROM pulse.outbox_messages AS m
JOIN pg_locks AS k ON k.locktype = 'transactionid' AND k.granted AND k.transactionid = m.xmax
JOIN pg_stat_activity AS a ON a.pid = k.pid
WHERE m.seq = ANY (ARRAY(SELECT jsonb_array_elements_text($1::text::jsonb)::bigint)) AND k.pid <> pg_backend_pid()
GROUP BY 1, 2, 3, 4, 5, 6
LIMIT 3
