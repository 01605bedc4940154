-- What claim.sql has told of transaction and session, asked again before the commit, and how many of the claims are
-- still there.
-- $1 consumer, $2 JSON array of event ids, none twice.
SELECT coalesce(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text, '') AS transaction,
  pg_catalog.concat_ws('|', current_user, session_user, pg_catalog.pg_my_temp_schema(), pg_catalog.current_setting('role'),
    pg_catalog.current_setting('search_path'), pg_catalog.current_setting('TimeZone'), pg_catalog.current_setting('DateStyle'),
    pg_catalog.current_setting('IntervalStyle'), pg_catalog.current_setting('bytea_output'), pg_catalog.current_setting('client_encoding'),
    pg_catalog.current_setting('transaction_isolation'), pg_catalog.current_setting('transaction_read_only'),
    pg_catalog.current_setting('default_transaction_isolation'), pg_catalog.current_setting('default_transaction_read_only'),
    pg_catalog.current_setting('session_replication_role'), pg_catalog.current_setting('row_security'),
    pg_catalog.current_setting('statement_timeout')) AS session,
  (SELECT pg_catalog.count(*)
   FROM pg_catalog.json_array_elements_text($2::pg_catalog.text::pg_catalog.json) AS wanted (event_id)
   CROSS JOIN LATERAL (
     SELECT 1 FROM pulse.processed_events AS p
     WHERE p.consumer = $1 AND p.event_id = wanted.event_id
     LIMIT 1 -- keeps the probe a probe: without it a join by hash may read the whole table
   ) AS p) AS claims
