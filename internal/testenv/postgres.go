package testenv

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Postgres returns the URL (postgres://…) of a new, empty database for one
// test, which is dropped when the test ends, even if clients are still
// connected. Its user is a superuser unless the server was given by URL.
func Postgres(t testing.TB) string {
	t.Helper()
	server := os.Getenv(PostgresVariable)
	if server == "" {
		server = shared(t, needPostgres, protocol.Postgres).URL
	}
	name := databaseName(t)
	database, err := withDatabase(server, name)
	if err != nil {
		t.Fatalf("testenv: %s: %v", PostgresVariable, err)
	}
	quoted := pgx.Identifier{name}.Sanitize()
	ctx, cancel := context.WithTimeout(t.Context(), setupLimit)
	defer cancel()
	if err := pgExec(ctx, server, "CREATE DATABASE "+quoted); err != nil {
		t.Fatalf("testenv: create a database for the test (the user needs CREATEDB): %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		// It waits for a checkpoint, which takes long where the disk is busy. What is
		// left behind says nothing about the code under test.
		if err := pgExec(ctx, server, "DROP DATABASE "+quoted+" WITH (FORCE)"); err != nil {
			t.Logf("testenv: the test's database is left behind: %v", err)
		}
	})
	return database
}

func pgExec(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// EndSessions ends the sessions of the server at databaseURL that a condition on
// pg_stat_activity selects, except its own, waits until they are gone, and returns how
// many they were.
func EndSessions(t testing.TB, databaseURL, condition string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), setupLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	defer func() { _ = conn.Close(ctx) }() // what it was for is done
	var pids []int32
	err = conn.QueryRow(ctx, `SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND (`+condition+`)`).Scan(&pids)
	if err == nil {
		_, err = conn.Exec(ctx, `SELECT pg_terminate_backend(p) FROM unnest($1::int[]) AS p`, pids)
	}
	for left := len(pids); err == nil && left > 0; {
		err = conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity WHERE pid = ANY($1)`, pids).Scan(&left)
	}
	if err != nil {
		t.Fatalf("testenv: end sessions where %s: %v", condition, err)
	}
	return len(pids)
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName returns the test's name, as far as it fits into PostgreSQL's 63
// bytes.
func databaseName(t testing.TB) string {
	test := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(t.Name()), "_"), "_")
	return "pulse_" + test[:min(len(test), 40)] + "_" + suffix()
}

// withDatabase returns the server's URL with another database.
func withDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + name
	return u.String(), nil
}

// PostgresUser is a role for one test that can log in to one database and
// create tables there. It is dropped with everything it owns when the test
// ends. Its methods fail the test themselves, and must be called in its
// goroutine.
type PostgresUser struct {
	t              testing.TB
	admin          string // URL of the database, as Postgres returned it
	name, password string
}

// NewPostgresUser creates a user for the database at databaseURL, which
// Postgres or a PostgresServer has returned.
func NewPostgresUser(t testing.TB, databaseURL string) *PostgresUser {
	t.Helper()
	u := &PostgresUser{t: t, admin: databaseURL, name: "pulse_" + suffix(), password: "first/" + suffix()}
	u.Create()
	t.Cleanup(func() {
		ctx, cancel := cleanupContext()
		defer cancel()
		if err := pgExec(ctx, u.admin, `DROP OWNED BY `+u.name+`; DROP ROLE `+u.name); err != nil {
			t.Errorf("testenv: drop the test's user: %v", err)
		}
	})
	u.Exec(`GRANT ALL ON SCHEMA public TO ` + u.name)
	return u
}

// Create creates the user again, with its password and without any privilege.
func (u *PostgresUser) Create() {
	u.t.Helper()
	u.Exec(`CREATE ROLE ` + u.name + ` LOGIN PASSWORD '` + u.password + `'`)
}

// URL returns the URL of the database with the user and its current password.
func (u *PostgresUser) URL() string {
	address, err := url.Parse(u.admin)
	if err != nil {
		u.t.Fatalf("testenv: %v", err)
	}
	address.User = url.UserPassword(u.name, u.password)
	return address.String()
}

// Name returns the role's name.
func (u *PostgresUser) Name() string { return u.name }

// SetPassword changes the password; open connections stay open.
func (u *PostgresUser) SetPassword(password string) {
	u.t.Helper()
	u.Exec(`ALTER ROLE ` + u.name + ` PASSWORD '` + password + `'`)
	u.password = password
}

// Disconnect ends every session of the user.
func (u *PostgresUser) Disconnect() {
	u.t.Helper()
	EndSessions(u.t, u.admin, `usename = '`+u.name+`'`)
}

// Exec executes statements as the administrator, in the user's database.
func (u *PostgresUser) Exec(statements string) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(u.t.Context(), setupLimit)
	defer cancel()
	if err := pgExec(ctx, u.admin, statements); err != nil {
		u.t.Fatalf("testenv: %s: %v", statements, err)
	}
}

// SetCertificate gives a PostgresServer a certificate with its key, as PEM. Sessions
// that begin later use it.
func (s *Server) SetCertificate(cert, key []byte) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), setupLimit)
	defer cancel()
	for _, statement := range []string{
		serverFile("server.crt", cert), serverFile("server.key", key), `ALTER SYSTEM SET ssl = on`, `SELECT pg_reload_conf()`,
	} {
		s.check(pgExec(ctx, s.URL(), statement))
	}
}

// serverFile returns a statement by which the server writes one of its files.
func serverFile(name string, content []byte) string {
	return fmt.Sprintf(`COPY (SELECT '%s') TO PROGRAM 'umask 077 && base64 -d > %s'`, base64.StdEncoding.EncodeToString(content), name)
}
