-- All that a handler can leave behind in its session, by name. Settings are those that the session has set itself; the
-- ones that the inbox sets for the transaction are listed whether or not they are. Settings of an application's own are
-- listed by nobody: their names take the place of the empty array.
SELECT 'setting ' || s.name AS name, s.setting AS value
FROM pg_catalog.pg_show_all_settings() AS s
WHERE s.source = 'session' AND s.name NOT IN ('lock_timeout', 'idle_in_transaction_session_timeout')
UNION ALL SELECT 'setting lock_timeout', pg_catalog.current_setting('lock_timeout')
UNION ALL SELECT 'setting idle_in_transaction_session_timeout', pg_catalog.current_setting('idle_in_transaction_session_timeout')
UNION ALL SELECT 'setting ' || n, coalesce(pg_catalog.current_setting(n, true), '')
FROM pg_catalog.json_array_elements_text('[]'::pg_catalog.json) AS n
UNION ALL SELECT 'role', pg_catalog.concat_ws(' ', current_user, session_user, pg_catalog.current_setting('role'))
UNION ALL SELECT 'transaction', pg_catalog.concat_ws(' ', pg_catalog.current_setting('transaction_isolation'), pg_catalog.current_setting('transaction_read_only'))
UNION ALL SELECT pg_catalog.concat_ws(' ', 'advisory lock', l.classid, l.objid, l.objsubid, l.mode), ''
FROM pg_catalog.pg_locks AS l WHERE l.locktype = 'advisory' AND l.pid = pg_catalog.pg_backend_pid()
UNION ALL SELECT 'temporary table ' || c.relname, ''
FROM pg_catalog.pg_class AS c WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relkind <> 'i'
UNION ALL SELECT 'prepared statement ' || p.name, '' FROM pg_catalog.pg_prepared_statements AS p WHERE p.from_sql
UNION ALL SELECT 'cursor ' || c.name, '' FROM pg_catalog.pg_cursors AS c WHERE c.is_holdable
UNION ALL SELECT 'listening to ' || c, '' FROM pg_catalog.pg_listening_channels() AS c
