-- Claims messages for a consumer and returns the event ids that were new, in one row. A row that another transaction
-- is about to claim is waited for, as long as the lock timeout given, which then is as it was. Sorted, so that
-- transactions with the same ids take their locks in one order: unsorted ones deadlock.
-- For what follows in the transaction it bounds how long the session may idle, if no stricter bound is set, and tells
-- by what the transaction and its session are known again (see verify.sql).
-- It runs under whatever settings the session has: what is named here is named in full.
-- $1 consumer, $2 JSON array of messages, no id twice, $3 lock timeout in milliseconds, $4 the same for idling; 0: leave it.
WITH before AS MATERIALIZED (
  SELECT pg_catalog.current_setting('lock_timeout') AS lock_timeout,
    pg_catalog.current_setting('idle_in_transaction_session_timeout') AS idle_timeout
), bounds AS MATERIALIZED (
  SELECT pg_catalog.set_config('lock_timeout', $3, true) AS lock_timeout,
    CASE WHEN $4::pg_catalog.text = '0' OR (idle_timeout <> '0' AND idle_timeout::pg_catalog.interval <= ($4 || 'ms')::pg_catalog.interval)
      THEN idle_timeout
      ELSE pg_catalog.set_config('idle_in_transaction_session_timeout', $4, true)
    END AS idle_timeout
  FROM before
), claimed AS (
  INSERT INTO pulse.processed_events (consumer, event_id, topic, type, payload_hash, correlation_id, occurred_at)
  SELECT $1, m.event_id, m.topic, m.type, pg_catalog.decode(m.payload_hash, 'hex'), m.correlation_id, m.occurred_at
  FROM bounds CROSS JOIN pg_catalog.json_to_recordset($2::pg_catalog.text::pg_catalog.json)
    AS m (event_id pg_catalog.text, topic pg_catalog.text, type pg_catalog.text, payload_hash pg_catalog.text,
      correlation_id pg_catalog.text, occurred_at pg_catalog.timestamptz)
  WHERE bounds.lock_timeout IS NOT NULL
  ORDER BY m.event_id COLLATE pg_catalog."C"
  ON CONFLICT (consumer, event_id) DO NOTHING
  RETURNING event_id
), ids AS MATERIALIZED (
  SELECT coalesce(pg_catalog.json_agg(event_id), '[]')::pg_catalog.text AS ids FROM claimed
)
SELECT ids.ids,
  pg_catalog.set_config('lock_timeout', before.lock_timeout, true) AS lock_timeout,
  before.idle_timeout,
  (1000 * extract(epoch FROM pg_catalog.current_setting('idle_in_transaction_session_timeout')::pg_catalog.interval))::pg_catalog.int8 AS idles,
  coalesce(pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text, '') AS transaction,
  pg_catalog.current_setting('standard_conforming_strings') AS strings,
  pg_catalog.concat_ws('|', current_user, session_user, pg_catalog.pg_my_temp_schema(), pg_catalog.current_setting('role'),
    pg_catalog.current_setting('search_path'), pg_catalog.current_setting('TimeZone'), pg_catalog.current_setting('DateStyle'),
    pg_catalog.current_setting('IntervalStyle'), pg_catalog.current_setting('bytea_output'), pg_catalog.current_setting('client_encoding'),
    pg_catalog.current_setting('transaction_isolation'), pg_catalog.current_setting('transaction_read_only'),
    pg_catalog.current_setting('default_transaction_isolation'), pg_catalog.current_setting('default_transaction_read_only'),
    pg_catalog.current_setting('session_replication_role'), pg_catalog.current_setting('row_security'),
    pg_catalog.current_setting('statement_timeout')) AS session
FROM ids CROSS JOIN before
