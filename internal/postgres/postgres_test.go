package postgres_test

import (
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestValidateHidesPassword(t *testing.T) {
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

func TestValidateReportsEveryProblem(t *testing.T) {
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
