package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Settings are the settings of one of this package's transactions on
// PostgreSQL, limited to it. Sessions, roles and databases may have other
// settings, under which the same statement means or costs something else.
// Transactions with statements of others are not affected.
type Settings struct {
	// Name is the application name that the server shows; empty: the session's.
	Name string
	// StatementTimeout, LockTimeout and IdleTimeout limit a statement, a wait
	// for a lock, and how long the transaction may stay open without a
	// statement, for example because this process is stopped or cut off. 0: no
	// limit.
	StatementTimeout, LockTimeout, IdleTimeout time.Duration
	// ByIndex is for frequent statements that each use an index: the planner
	// avoids full scans if an index can be used, and may cache the plan.
	// Otherwise it plans for the arguments each time.
	ByIndex bool
	// Tables are all tables that the transaction uses, in the order in which
	// they were created. They are locked first, in that order, against being
	// dropped or truncated, so that the transaction cannot deadlock with a
	// program that truncates all of them.
	Tables []string
}

// DefaultSettings are for queries and changes by tools and operators.
var DefaultSettings = Settings{StatementTimeout: 30 * time.Second, LockTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second}

// statement returns the statement that applies the settings; "" if there are
// none. It has no arguments: pgx checks a setting that this statement makes
// before it sends any.
func (s Settings) statement(d Dialect) string {
	if d != PostgreSQL {
		return ""
	}
	seqscan, plans := "on", "force_custom_plan"
	if s.ByIndex {
		seqscan, plans = "off", "auto"
	}
	values := [][2]string{
		// The format of values.
		{"bytea_output", "hex"}, {"datestyle", "ISO, MDY"}, {"intervalstyle", "postgres"}, {"timezone", "UTC"},
		{"standard_conforming_strings", "on"},
		// Policies filter; Database.Hidden reports that.
		{"row_security", "on"},
		// The planner. Compiling never pays for statements this short.
		{"enable_seqscan", seqscan}, {"enable_indexscan", "on"}, {"enable_indexonlyscan", "on"}, {"enable_bitmapscan", "on"},
		{"enable_nestloop", "on"}, {"enable_sort", "on"}, {"plan_cache_mode", plans}, {"jit", "off"},
		{"statement_timeout", milliseconds(s.StatementTimeout)}, {"lock_timeout", milliseconds(s.LockTimeout)},
		{"idle_in_transaction_session_timeout", milliseconds(s.IdleTimeout)},
	}
	if s.Name != "" {
		values = append(values, [2]string{"application_name", asciiName(s.Name)})
	}
	calls := make([]string, len(values))
	for i, v := range values {
		calls[i] = fmt.Sprintf("pg_catalog.set_config('%s', '%s', true)", v[0], v[1])
	}
	return "SELECT " + strings.Join(calls, ", ")
}

// milliseconds formats d as a setting, rounded up, because 0 would mean no
// limit.
func milliseconds(d time.Duration) string {
	return fmt.Sprint((d + time.Millisecond - 1).Milliseconds())
}

// maxName is how many bytes of a name PostgreSQL keeps.
const maxName = 63

// asciiName returns name in a form that a literal and a setting can hold: like
// the server, it replaces characters outside ASCII by question marks.
func asciiName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\'' || r == '\\' {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), maxName)]
}

// lockTables returns the part of the settings' statement that locks tables.
func lockTables(tables []string, schema string) string {
	var b strings.Builder
	for _, table := range tables {
		fmt.Fprintf(&b, ", (SELECT count(*) FROM (SELECT FROM %s.%s LIMIT 0) AS t)", QuoteName(schema), table)
	}
	return b.String()
}

// apply applies settings in tx with their statement.
func apply(ctx context.Context, tx *sqlx.Tx, statement string) error {
	if statement == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, statement)
	return err
}
