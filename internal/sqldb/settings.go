package sqldb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Settings are what a transaction of ours sets for itself, and for nobody
// after it, on PostgreSQL. Sessions, roles and databases come with settings of
// their own, under which the same statement means or costs something else.
// Nothing here touches a transaction in which somebody else's statements run.
type Settings struct {
	// Name is what the server shows as the application; empty: the session's.
	Name string
	// StatementTimeout, LockTimeout and IdleTimeout bound a statement, a wait for a
	// lock, and how long the transaction may stay open without a statement, as it
	// does when this process is stopped or cut off. 0: no bound.
	StatementTimeout, LockTimeout, IdleTimeout time.Duration
	// ByIndex is for statements that run often, each with its index: the planner
	// reads no table from end to end where an index will do, and may keep the
	// plan. Else it looks at the arguments each time.
	ByIndex bool
	// Tables are all that the transaction will use, in the order in which they were
	// made. They are locked first, in that order, against being dropped or
	// truncated meanwhile: so that it cannot end in a deadlock with what empties
	// them all.
	Tables []string
}

// DefaultSettings bound what people look at and change by hand.
var DefaultSettings = Settings{StatementTimeout: 30 * time.Second, LockTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second}

// statement returns what makes the settings; "" where there are none. It takes
// no arguments: before it sends any, pgx checks a setting that is made here.
func (s Settings) statement(d Dialect) string {
	if d != PostgreSQL {
		return ""
	}
	seqscan, plans := "on", "force_custom_plan"
	if s.ByIndex {
		seqscan, plans = "off", "auto"
	}
	values := [][2]string{
		// The form in which values come back.
		{"bytea_output", "hex"}, {"datestyle", "ISO, MDY"}, {"intervalstyle", "postgres"}, {"timezone", "UTC"},
		{"standard_conforming_strings", "on"},
		// Policies filter; that they do is for Database.Hidden to say.
		{"row_security", "on"},
		// The planner. Compiling never pays for statements as short as ours.
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

// milliseconds is d as a setting, rounded up: what is left of a millisecond is
// not "no bound".
func milliseconds(d time.Duration) string {
	return fmt.Sprint((d + time.Millisecond - 1).Milliseconds())
}

// maxName is how many bytes of a name PostgreSQL keeps.
const maxName = 63

// asciiName is name as a literal and a setting can hold it: the server replaces
// what is not ASCII by question marks, and so do we.
func asciiName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\'' || r == '\\' {
			return '?'
		}
		return r
	}, name)
	return name[:min(len(name), maxName)]
}

// lockTables is what completes the statement of settings by the locks on tables.
func lockTables(tables []string, schema string) string {
	var b strings.Builder
	for _, table := range tables {
		fmt.Fprintf(&b, ", (SELECT count(*) FROM (SELECT FROM %s.%s LIMIT 0) AS t)", QuoteName(schema), table)
	}
	return b.String()
}

// apply makes settings in tx by their statement.
func apply(ctx context.Context, tx *sqlx.Tx, statement string) error {
	if statement == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, statement)
	return err
}
