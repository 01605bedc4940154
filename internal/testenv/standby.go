package testenv

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Standby is a streaming standby of a PostgresServer, asynchronous unless it is
// told otherwise. It runs with the same programs, and is removed with its data.
type Standby struct {
	t       testing.TB
	primary *Server
	url     string
}

// Standby starts a standby that has everything committed so far.
func (s *Server) Standby() *Standby {
	s.t.Helper()
	if given := os.Getenv(protocol.PostgresBinVariable); given != "" {
		if _, err := os.Stat(filepath.Join(given, "pg_basebackup")); err != nil {
			s.t.Skipf("testenv: a standby needs pg_basebackup, which the programs of %s lack", protocol.PostgresBinVariable)
		}
	}
	primary := connectPostgres(s.t, s.URL())
	var bin, data, from, most, address string
	err := primary.QueryRow(s.t.Context(), `SELECT (SELECT setting FROM pg_config WHERE name = 'BINDIR'), current_setting('data_directory'),
		current_setting('port'), current_setting('max_connections'), host(inet_server_addr())`).Scan(&bin, &data, &from, &most, &address)
	if err != nil {
		s.t.Fatalf("testenv: standby: %v", err)
	}
	port, err := host.FreePort()
	if err != nil {
		s.t.Fatalf("testenv: standby: %v", err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		s.t.Fatalf("testenv: standby: %v", err)
	}
	password, _ := u.User.Password()
	dir := fmt.Sprintf("%s-standby-%d", data, port)
	// The server itself runs them, as its user and on its machine.
	backup := fmt.Sprintf(`PGPASSWORD=%s %s/pg_basebackup -h 127.0.0.1 -p %s -U %s -D %s -R -C -S standby_%d -X stream -c fast`, password, bin, from, u.User.Username(), dir, port)
	start := fmt.Sprintf(`%s/pg_ctl -D %s -l %[2]s.log -o "-c listen_addresses=%s -c port=%d -c max_connections=%s -c unix_socket_directories=" -w start`,
		bin, dir, address, port, most)
	if _, err := primary.Exec(s.t.Context(), copyToProgram(backup+" && "+start)); err != nil {
		s.t.Fatalf("testenv: standby: %v", err)
	}
	u.Host = net.JoinHostPort(address, strconv.Itoa(port))
	b := &Standby{t: s.t, primary: s, url: u.String()}
	s.t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		conn, err := pgx.Connect(ctx, b.url)
		if err != nil {
			s.t.Errorf("testenv: standby: %v", err)
			return
		}
		// It stops while it answers.
		_, _ = conn.Exec(ctx, copyToProgram(fmt.Sprintf("kill -QUIT $(head -1 %[1]s/postmaster.pid); rm -rf %[1]s %[1]s.log", dir)))
		_ = conn.Close(ctx)
	})
	return b
}

// URL returns the standby's address, like Server.URL.
func (b *Standby) URL() string { return b.url }

// Synchronous lets the primary answer a commit only when this standby has stored it.
func (b *Standby) Synchronous() {
	b.t.Helper()
	conn := connectPostgres(b.t, b.primary.URL())
	for _, statement := range []string{`ALTER SYSTEM SET synchronous_standby_names = '*'`, `SELECT pg_reload_conf()`} {
		if _, err := conn.Exec(b.t.Context(), statement); err != nil {
			b.t.Fatalf("testenv: standby: %v", err)
		}
	}
	Eventually(b.t, time.Minute, "the standby to be synchronous", func() bool {
		var state string
		err := conn.QueryRow(b.t.Context(), `SELECT sync_state FROM pg_stat_replication`).Scan(&state)
		return err == nil && state == "sync"
	})
}

// CatchUp waits until the standby has everything that is committed.
func (b *Standby) CatchUp() {
	b.t.Helper()
	primary, standby := connectPostgres(b.t, b.primary.URL()), connectPostgres(b.t, b.url)
	var until string
	if err := primary.QueryRow(b.t.Context(), `SELECT pg_current_wal_flush_lsn()::text`).Scan(&until); err != nil {
		b.t.Fatalf("testenv: standby: %v", err)
	}
	Eventually(b.t, time.Minute, "the standby to catch up", func() bool {
		var there bool
		err := standby.QueryRow(b.t.Context(), `SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn`, until).Scan(&there)
		return err == nil && there
	})
}

// Detach ends the replication: the standby does not get later commits.
func (b *Standby) Detach() {
	b.t.Helper()
	conn := connectPostgres(b.t, b.url)
	for _, statement := range []string{`ALTER SYSTEM SET primary_conninfo = ''`, `SELECT pg_reload_conf()`} {
		if _, err := conn.Exec(b.t.Context(), statement); err != nil {
			b.t.Fatalf("testenv: standby: %v", err)
		}
	}
	Eventually(b.t, time.Minute, "the replication to end", func() bool {
		var receivers int
		err := conn.QueryRow(b.t.Context(), `SELECT count(*) FROM pg_stat_wal_receiver`).Scan(&receivers)
		return err == nil && receivers == 0
	})
}

// Promote makes it a primary.
func (b *Standby) Promote() {
	b.t.Helper()
	if _, err := connectPostgres(b.t, b.url).Exec(b.t.Context(), `SELECT pg_promote()`); err != nil {
		b.t.Fatalf("testenv: standby: %v", err)
	}
}

// connectPostgres opens a connection for the rest of the test.
func connectPostgres(t testing.TB, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// copyToProgram returns a statement that runs a shell command without its
// output.
func copyToProgram(command string) string {
	return `COPY (SELECT) TO PROGRAM '` + strings.ReplaceAll(`(`+command+`) </dev/null >/dev/null 2>&1`, `'`, `''`) + `'`
}
