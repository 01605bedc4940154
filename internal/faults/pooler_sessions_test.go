package faults_test

import (
	"testing"

	"github.com/jmoiron/sqlx"
)

// inSessions runs do in each session of the pooler, and returns its results by
// process.
func inSessions(t *testing.T, db *sqlx.DB, do func(*sqlx.Tx) string) map[int]string {
	t.Helper()
	results := map[int]string{}
	var open []*sqlx.Tx // while one is open, its session is not given to another
	for range 2 {
		tx := db.MustBegin()
		open = append(open, tx)
		var pid int
		if err := tx.Get(&pid, `SELECT pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		results[pid] = do(tx)
	}
	for _, tx := range open {
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if len(results) != 2 {
		t.Fatalf("sessions %v, want two", results)
	}
	return results
}

// leaveState leaves in a session what another program may have left.
func leaveState(t *testing.T, tx *sqlx.Tx) {
	t.Helper()
	for _, statement := range []string{
		`SET bytea_output = 'escape'`, `SET enable_indexscan = off`, `SET plan_cache_mode = force_generic_plan`, `SET app.tenant = 'another'`,
		`CREATE TEMPORARY TABLE outbox_messages (seq bigint)`, `CREATE TEMPORARY TABLE processed_events (event_id text)`,
		`LISTEN another`, `PREPARE another AS SELECT 1`,
	} {
		tx.MustExec(statement)
	}
	if _, err := tx.Exec(`SELECT pg_advisory_lock(pg_backend_pid())`); err != nil {
		t.Fatal(err)
	}
}

// sessionState lists what a session has, without what the pooler itself sets.
func sessionState(t *testing.T, tx *sqlx.Tx) (state string) {
	t.Helper()
	err := tx.Get(&state, `SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM (
		SELECT name || '=' || setting AS what FROM pg_settings WHERE source = 'session'
			AND name NOT IN ('transaction_read_only', 'application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings', 'IntervalStyle', 'extra_float_digits')
		UNION ALL SELECT 'app.tenant=' || nullif(current_setting('app.tenant', true), '')
		UNION ALL SELECT 'lock ' || (objid::bigint = pg_backend_pid()) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
		UNION ALL SELECT 'table ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r'
		UNION ALL SELECT 'statement ' || name FROM pg_prepared_statements
		UNION ALL SELECT 'listens to ' || c FROM pg_listening_channels() AS c) AS s WHERE what IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	return state
}
