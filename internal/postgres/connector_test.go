package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func open(t *testing.T, c postgres.Config) *sqlx.DB {
	t.Helper()
	db, err := postgres.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func change(t *testing.T, raw string, by func(*url.URL)) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	by(u)
	return u.String()
}

// standby makes a server a standby, or a primary again.
func standby(t *testing.T, server *testenv.Server) {
	t.Helper()
	open(t, postgres.Config{URL: server.URL()}).MustExec(`COPY (SELECT '') TO PROGRAM 'cat > standby.signal'`)
	server.Stop()
	server.Start()
}

// A rotated password is used from the next connect on.
func TestConnectorGetURL(t *testing.T) {
	server := testenv.Postgres(t)
	admin := open(t, postgres.Config{URL: server})
	role := strings.ReplaceAll(testenv.UniqueName(t, "pulse_rotated"), ".", "_")
	admin.MustExec(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'first'`)
	defer admin.MustExec(`DROP ROLE ` + role)
	as := func(password string) string {
		return change(t, server, func(u *url.URL) { u.User = url.UserPassword(role, password) })
	}
	var mu sync.Mutex
	current, away := as("first"), error(nil)
	db := open(t, postgres.Config{URL: current, GetURL: func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		return current, away
	}})
	answer := func(url string, err error) error {
		mu.Lock()
		current, away = url, err
		mu.Unlock()
		// Open connections are lost, as when the database restarts.
		testenv.EndSessions(t, server, `usename = '`+role+`'`)
		return sqldb.Transact(t.Context(), db, nil, func(ctx context.Context, tx *sqlx.Tx) error {
			_, err := tx.ExecContext(ctx, `SELECT 1`)
			return err
		})
	}
	if err := answer(current, nil); err != nil {
		t.Fatal(err)
	}
	admin.MustExec(`ALTER ROLE ` + role + ` PASSWORD 'second'`)
	if err := answer(current, nil); sqldb.Judge(err) != sqldb.Refused {
		t.Errorf("the old password: %v", err)
	}
	if err := answer("", errors.New("the file is empty")); sqldb.Judge(err) != sqldb.Outage || !strings.Contains(err.Error(), "the file is empty") {
		t.Errorf("no URL: %v", err)
	}
	if err := answer("postgres://app:hunter2@host:x/", nil); sqldb.Judge(err) != sqldb.Outage || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an invalid URL: %v", err)
	}
	if err := answer(as("second"), nil); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// A server error that makes a session useless closes it, whoever uses it.
func TestConnectorClosesUselessConnections(t *testing.T) {
	db := open(t, postgres.Config{URL: testenv.Postgres(t)})
	db.MustExec(`CREATE TABLE t (n int)`)
	db.SetMaxOpenConns(1)
	db.MustExec(`SET default_transaction_read_only = on`) // as on a server that was demoted
	if _, err := db.Exec(`INSERT INTO t VALUES (1)`); sqldb.Judge(err) != sqldb.ReadOnly {
		t.Fatalf("%v", err)
	}
	if _, err := db.Exec(`INSERT INTO t VALUES (1)`); err != nil {
		t.Errorf("the next statement: %v", err)
	}
	if _, err := db.Exec(`SET application_name = 'kept'`); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO t VALUES ('x')`); err == nil {
		t.Fatal("no error")
	}
	var name string
	if err := db.Get(&name, `SHOW application_name`); err != nil || name != "kept" {
		t.Errorf("an error of a statement ended its session: %q, %v", name, err)
	}
}

// Of several servers, the one that accepts writes is used.
func TestConnectorSeveralServers(t *testing.T) {
	first, second := testenv.PostgresServer(t), testenv.PostgresServer(t)
	host := func(s *testenv.Server) (h string) {
		change(t, s.URL(), func(u *url.URL) { h = u.Host })
		return h
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	standby(t, first)
	for about, hosts := range map[string][]string{
		"a standby first": {host(first), host(second)},
		"one is down":     {"127.0.0.1:1", host(second)},
		"one is silent":   {silent.Addr().String(), host(second)},
		"all at once":     {silent.Addr().String(), "127.0.0.1:1", host(first), host(second)},
	} {
		db := open(t, postgres.Config{URL: change(t, second.URL(), func(u *url.URL) { u.Host = "several" }), GetURL: func(context.Context) (string, error) {
			return strings.Replace(second.URL(), host(second), strings.Join(hosts, ","), 1), nil
		}})
		testenv.Eventually(t, 20*time.Second, about+": a connection to the right one", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, err := db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS t (n int)`)
			return err == nil
		})
	}
	only := func(params string) error {
		u := strings.Replace(second.URL(), host(second), host(first)+",127.0.0.1:1", 1) + params
		return open(t, postgres.Config{URL: u}).Ping()
	}
	if err := only(""); sqldb.Judge(err) != sqldb.Outage || !strings.Contains(err.Error(), "read only connection") {
		t.Errorf("nothing but a standby: %v", err)
	}
	if err := only("&target_session_attrs=any"); err != nil {
		t.Errorf("the URL asks for any: %v", err)
	}
}

// A pooler may give each transaction another session. Prepared statements do
// not work through it, and are not used.
func TestConnectorRecognisesPooler(t *testing.T) {
	direct := testenv.Postgres(t)
	for about, c := range map[string]struct {
		url  string
		mode string
	}{
		"direct":  {direct, "cache statement"},
		"through": {testenv.PgBouncer(t, direct), "exec"},
		"told":    {testenv.PgBouncer(t, direct) + "&default_query_exec_mode=cache_describe", "cache describe"},
	} {
		db := open(t, postgres.Config{URL: c.url})
		var failures []error
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range 20 {
					var got int
					if err := db.Get(&got, `SELECT $1::int + 1`, i); err != nil || got != i+1 {
						mu.Lock()
						failures = append(failures, err)
						mu.Unlock()
					}
				}
			})
		}
		wg.Wait()
		if len(failures) > 0 {
			t.Errorf("%s: %d of 160 failed: %v", about, len(failures), failures[0])
		}
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var mode string
		err = conn.Raw(func(c any) error {
			mode = c.(*stdlib.Conn).Conn().Config().DefaultQueryExecMode.String()
			return nil
		})
		if err != nil || mode != c.mode {
			t.Errorf("%s: statements are executed as %q, %v; want %q", about, mode, err, c.mode)
		}
		conn.Close()
	}
}

// When another URL is told the pool moves to it by itself, without an error, and
// the old user can be removed; a URL that does not work ends no connection.
func TestConnectorMovesToAnotherUser(t *testing.T) {
	server := testenv.Postgres(t)
	first, second := testenv.NewPostgresUser(t, server), testenv.NewPostgresUser(t, server)
	var mu sync.Mutex
	told, asked := first.URL(), 0
	tell := func(url string) {
		mu.Lock()
		defer mu.Unlock()
		told, asked = url, 0
	}
	db := open(t, postgres.Config{URL: told, GetURL: func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return told, nil
	}})
	// All connections are there, so that none is made by a wrong password.
	db.SetMaxOpenConns(4)
	var all []*sqlx.Conn
	for range 4 {
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	for _, conn := range all {
		conn.Close()
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if _, err := db.ExecContext(t.Context(), `SELECT pg_sleep(0.005)`); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	user := func() (name string) {
		if err := db.Get(&name, `SELECT current_user`); err != nil {
			t.Fatal(err)
		}
		return name
	}
	tell(change(t, second.URL(), func(u *url.URL) { u.User = url.UserPassword(second.Name(), "wrong") }))
	testenv.Eventually(t, time.Minute, "the wrong password to be tried twice", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return asked >= 4 // by the look and by the attempt to connect
	})
	if got := user(); got != first.Name() {
		t.Errorf("the user is %s", got)
	}
	tell(second.URL())
	admin := open(t, postgres.Config{URL: server})
	testenv.Eventually(t, time.Minute, "the old user to be used no more", func() bool {
		var used int
		err := admin.Get(&used, `SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND (state <> 'idle' OR state_change > now() - interval '2 s')`, first.Name())
		if err != nil {
			t.Fatal(err)
		}
		return used == 0
	})
	first.Exec(`ALTER ROLE ` + first.Name() + ` NOLOGIN`)
	first.Disconnect()
	for range 100 {
		if got := user(); got != second.Name() {
			t.Fatalf("the user is %s", got)
		}
	}
}

// A password of its own for each question, as the tokens of a cloud, ends no connection.
func TestConnectorKeepsConnectionsUnderAnotherPassword(t *testing.T) {
	user := testenv.NewPostgresUser(t, testenv.Postgres(t))
	var mu sync.Mutex
	asked := 0
	db := open(t, postgres.Config{URL: user.URL(), GetURL: func(context.Context) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		user.SetPassword(fmt.Sprint("token/", asked))
		return user.URL(), nil
	}})
	db.SetMaxOpenConns(1)
	var first, pid int
	testenv.Eventually(t, time.Minute, "the URL to be asked for several times", func() bool {
		if err := db.Get(&pid, `SELECT pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		if first == 0 {
			first = pid
		}
		if pid != first {
			t.Fatal("there is another connection")
		}
		mu.Lock()
		defer mu.Unlock()
		return asked > 4
	})
}
