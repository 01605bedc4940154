package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestJudgeSQLState(t *testing.T) {
	for _, c := range []struct {
		code, routine string
		want          Trouble
	}{
		{"25006", "", ReadOnly},
		{"42501", "aclcheck_error", Refused},
		{"42501", "ExecWithCheckOptions", BadData}, // a policy of the table: other rows may be accepted
		{"28P01", "", Refused},
		{"28000", "", Refused},
		{"3D000", "", Refused},
		{"53100", "", Full},
		{"53200", "", Outage},
		{"53300", "", Outage},
		{"53400", "", Outage},
		{"57P01", "", Outage},
		{"57P02", "", Outage},
		{"57P03", "", Outage},
		{"57P04", "", Outage},
		{"57P05", "", Outage},
		{"57000", "", Outage},
		{"58000", "", Outage},
		{"58030", "", Outage},
		{"58P01", "", Outage},
		{"F0000", "", Outage},
		{"XX001", "", Outage},
		{"XX002", "", Outage},
		{"08006", "", Outage},
		{"08P01", "", Outage},
		{"08P01", "exec_bind_message", Pooled},
		{"26000", "", Pooled},
		{"42P05", "", Pooled},
		{"57014", "", Timeout},
		{"25P03", "", Idled},
		{"25P04", "", Idled},
		{"40001", "", Transient},
		{"40P01", "", Transient},
		{"40003", "", Transient},
		{"55P03", "", Transient},
		{"72000", "", Transient},
		{"XX000", "", Transient},
		{"0A000", "RevalidateCachedQuery", Transient},
		{"0A000", "call_bool_check_hook", ReadOnly},
		{"0A000", "", BadStatement},
		{"42P01", "", SchemaBehind},
		{"42703", "", SchemaBehind},
		{"3F000", "", SchemaBehind},
		{"22P02", "", BadData},
		{"23505", "", BadData},
		{"40002", "", BadData},
		{"44000", "", BadData},
		{"54000", "", BadData},
		{"25P02", "", BadStatement},
		{"25P01", "", BadStatement},
		{"42601", "", BadStatement},
		{"P0001", "", BadStatement},
		{"1", "", BadStatement},
	} {
		pgxErr := &pgconn.PgError{Code: c.code, Routine: c.routine}
		pqErr := &pq.Error{Code: pq.ErrorCode(c.code), Routine: c.routine}
		for _, err := range []error{pgxErr, pqErr, fmt.Errorf("query: %w", pgxErr), errors.Join(io.EOF, pqErr)} {
			if got := Judge(err); got != c.want {
				t.Errorf("%s %s as %T: %q, want %q", c.code, c.routine, err, got, c.want)
			}
		}
	}
}

func TestJudgeOtherErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Trouble
	}{
		{nil, NoTrouble},
		{errors.New("order is unknown"), Foreign},
		{errors.New("sqlite3: database is locked, SQLSTATE 25006"), Foreign},
		{context.Canceled, Foreign},
		{sql.ErrNoRows, Foreign},
		{&os.PathError{Op: "open", Path: "price-list", Err: os.ErrNotExist}, Foreign},
		{fmt.Errorf("begin: %w", context.DeadlineExceeded), Timeout},
		{fmt.Errorf("query: %w", driver.ErrBadConn), Lost},
		{io.ErrUnexpectedEOF, Lost},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Lost},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, Refused},
		{&net.DNSError{Err: "no such host"}, Lost},
		{fmt.Errorf("%w: the file is empty", ErrNotConnected), Outage},
		{fmt.Errorf("%w: %w", ErrNotConnected, &pq.Error{Code: "28P01"}), Refused},
		{fmt.Errorf("%w: outbox_schema is at version 1", ErrSchema), SchemaBehind},
	} {
		if got := Judge(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestTroubleAwayAndGiveUp(t *testing.T) {
	for trouble, want := range map[Trouble]struct{ away, giveUp bool }{
		NoTrouble: {}, SchemaBehind: {}, Transient: {}, Timeout: {}, BadData: {}, BadStatement: {}, Foreign: {},
		Outage: {away: true}, Full: {away: true}, ReadOnly: {true, true}, Refused: {true, true}, Pooled: {true, true},
		Lost: {giveUp: true}, Idled: {giveUp: true},
	} {
		if trouble.Away() != want.away || trouble.GiveUp() != want.giveUp {
			t.Errorf("%q: away %v, give up %v", trouble, trouble.Away(), trouble.GiveUp())
		}
	}
}

func TestExplainPooler(t *testing.T) {
	for _, cause := range []error{&pgconn.PgError{Code: "42P05"}, &pq.Error{Code: "08P01", Message: "unsupported startup parameter: extra_float_digits"}} {
		err := Explain(cause)
		for _, setting := range []string{"default_query_exec_mode=exec", "binary_parameters=yes", "ignore_startup_parameters"} {
			if !errors.Is(err, ErrPooler) || !errors.Is(err, cause) || !strings.Contains(err.Error(), setting) {
				t.Errorf("%v does not name %s", err, setting)
			}
		}
		if again := Explain(err); again != err {
			t.Errorf("explained twice: %v", again)
		}
	}
}

// Driver errors for a server that cannot be reached.
func TestJudgeConnectErrors(t *testing.T) {
	good := testenv.Postgres(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		for _, c := range []struct {
			about  string
			change func(*url.URL)
			want   Trouble
		}{
			{"nobody listens", func(u *url.URL) { u.Host = "127.0.0.1:1" }, Outage},
			{"nobody answers", func(u *url.URL) { u.Host = silent.Addr().String() }, Outage},
			{"no such database", func(u *url.URL) { u.Path = "/none" }, Refused},
			{"no such user", func(u *url.URL) { u.User = url.UserPassword("pulse_nobody", "x") }, Refused},
		} {
			u, err := url.Parse(good)
			if err != nil {
				t.Fatal(err)
			}
			c.change(u)
			q := u.Query()
			q.Set("connect_timeout", "1")
			u.RawQuery = q.Encode()
			err = open(u.String()).Ping()
			got := Judge(err)
			if c.want == Outage && got == Lost {
				got = Outage // lib/pq passes network errors on
			}
			if got != c.want {
				t.Errorf("%s: %v (%T): %q, want %q", c.about, err, err, got, c.want)
			}
		}
	})
}

// Errors of a SQLite driver are distinguished from similar texts.
func TestJudgeSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := openSQLite(t, path)
	db.SetMaxOpenConns(1) // PRAGMA is the connection's
	db.MustExec(`CREATE TABLE notes (id integer PRIMARY KEY, text blob NOT NULL CHECK (text <> ''))`)
	exec := func(query string) error { _, err := db.Exec(query); return err }
	locked := func() error {
		tx := openSQLite(t, path).MustBegin()
		defer tx.Rollback()
		tx.MustExec(`INSERT INTO notes (text) VALUES ('x')`)
		return exec(`PRAGMA busy_timeout = 0; INSERT INTO notes (text) VALUES ('x')`)
	}
	query := func(path string) error { _, err := openSQLite(t, path).Exec(`SELECT * FROM notes`); return err }
	odd := filepath.Join(t.TempDir(), "odd.db")
	if err := os.WriteFile(odd, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		err  error
		want Trouble
	}{
		{"locked", locked(), Transient},
		{"missing table", exec(`SELECT * FROM nowhere`), SchemaBehind},
		{"NOT NULL", exec(`INSERT INTO notes (text) VALUES (NULL)`), BadData},
		{"CHECK", exec(`INSERT INTO notes (text) VALUES ('')`), BadData},
		{"mismatch", exec(`INSERT INTO notes (id, text) VALUES ('one', 'x')`), BadData},
		{"syntax", exec(`INSERT`), BadStatement},
		{"no folder", query(filepath.Join(t.TempDir(), "nowhere", "test.db")), Outage},
		{"no database", query(odd), Outage},
		{"full", exec(`PRAGMA max_page_count = 1; INSERT INTO notes (text) VALUES (zeroblob(100000))`), Full},
		{"read only", exec(`PRAGMA query_only = on; INSERT INTO notes (text) VALUES ('x')`), ReadOnly},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if got := Judge(errors.New(c.err.Error())); got != Foreign {
			t.Errorf("%s: %v is taken for the driver's", c.name, c.err)
		}
		for _, err := range []error{c.err, fmt.Errorf("query: %w", c.err), errors.Join(errors.New("other"), c.err)} {
			if got := Judge(err); got != c.want {
				t.Errorf("%s: %v: %q, want %q", c.name, err, got, c.want)
			}
		}
	}
}

func openSQLite(t *testing.T, path string) *sqlx.DB { return open(t, "sqlite3", path) }

func open(t *testing.T, driver, address string) *sqlx.DB {
	t.Helper()
	db, err := sqlx.Open(driver, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// eachDriver runs do with each driver of PostgreSQL.
func eachDriver(t *testing.T, do func(t *testing.T, open func(url string) *sqlx.DB)) {
	for name, driver := range map[string]string{"pgx": "pgx", "lib pq": "postgres"} {
		t.Run(name, func(t *testing.T) {
			do(t, func(address string) *sqlx.DB { return open(t, driver, address) })
		})
	}
}
