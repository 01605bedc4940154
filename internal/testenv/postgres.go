package testenv

import (
	"context"
	"errors"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Postgres returns the URL of a fresh, empty database of the test's own
// (postgres://…), which is dropped when the test ends, whoever is still
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
		if err := pgExec(ctx, server, "DROP DATABASE "+quoted+" WITH (FORCE)"); err != nil {
			t.Errorf("testenv: drop the test's database: %v", err)
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

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// databaseName names the test, as far as PostgreSQL's 63 bytes allow.
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
