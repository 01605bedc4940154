package postgres_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestValidateNeverTellsThePassword(t *testing.T) {
	for _, raw := range []string{
		"postgres://app:hunter2@host:notaport/db",
		"postgres://app:hunter2@host/db?sslmode=hunter2",
		"postgres://app:hunter2@host/db?connect_timeout=x",
		"postgres://app:hun%zzter2@host/db",
		"postgres://app:hun/hunter2@host/db",
		"postgres://app:hun#hunter2@host/db",
		"mysql://app:hunter2@host/db",
		"host=db user=app password=hunter2",
		"app:hunter2@host/db",
	} {
		err := postgres.Config{URL: raw}.Validate()
		if err == nil {
			t.Errorf("%s: no error", raw)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun%") {
			t.Errorf("%s: the error tells the password: %v", raw, err)
		}
		if _, openErr := postgres.Open(postgres.Config{URL: raw}); openErr == nil || strings.Contains(openErr.Error(), "hunter2") {
			t.Errorf("%s: Open: %v", raw, openErr)
		}
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	err := postgres.Config{MaxConns: -1, ConnectTimeout: -1}.Validate()
	for _, field := range []string{"URL", "MaxConns", "ConnectTimeout"} {
		if err == nil || !strings.Contains(err.Error(), field+":") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if err := (postgres.Config{URL: "postgres://app:p%40ss@one:5432,two:5433/db?sslmode=disable"}).Validate(); err != nil {
		t.Errorf("a URL with two hosts: %v", err)
	}
}

func TestOpen(t *testing.T) {
	db, err := postgres.Open(postgres.Config{URL: testenv.Postgres(t), Name: "open-test"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var name string
	if err := db.GetContext(t.Context(), &name, `SELECT current_setting('application_name')`); err != nil || name != "open-test" {
		t.Errorf("application_name %q, %v", name, err)
	}
	if got := db.DriverName(); got != "pgx" {
		t.Errorf("driver name %q", got)
	}
}

func TestUnreachable(t *testing.T) {
	good := testenv.Postgres(t)
	query := func(change func(*url.URL)) error {
		t.Helper()
		u, err := url.Parse(good)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		db, err := postgres.Open(postgres.Config{URL: u.String(), ConnectTimeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, err = db.ExecContext(t.Context(), `SELECT nothing FROM nowhere`)
		return err
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct {
		about  string
		change func(*url.URL)
		want   bool
	}{
		{"an error of the query", func(*url.URL) {}, false},
		{"no such database", func(u *url.URL) { u.Path = "/" + testenv.UniqueName(t, "none") }, false},
		{"nobody listens", func(u *url.URL) { u.Host = "127.0.0.1:1" }, true},
		{"nobody answers", func(u *url.URL) { u.Host = silent.Addr().String() }, true},
	} {
		if err := query(c.change); err == nil || postgres.Unreachable(err) != c.want {
			t.Errorf("%s: Unreachable(%v) is not %t", c.about, err, c.want)
		}
	}
	if postgres.Unreachable(nil) || !postgres.Unreachable(context.DeadlineExceeded) || postgres.Unreachable(context.Canceled) {
		t.Error("nil and canceled are no outage, a deadline is one")
	}
}
