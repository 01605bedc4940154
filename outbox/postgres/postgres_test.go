package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox/postgres"
)

// GetURL is called at each connect, and its result is used.
func TestOpenGetURL(t *testing.T) {
	t.Parallel()
	user := testenv.NewPostgresUser(t, testenv.Postgres(t))
	db, err := postgres.Open(postgres.Config{
		URL: user.URL(), Name: "url-of-the-moment",
		GetURL: func(context.Context) (string, error) { return user.URL(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for range 2 {
		var name string
		if err := db.GetContext(t.Context(), &name, `SELECT current_setting('application_name')`); err != nil || name != "url-of-the-moment" {
			t.Fatalf("%q, %v", name, err)
		}
		user.SetPassword("next-" + testenv.UniqueName(t, "password"))
		user.Disconnect()
	}
}

func TestOpenNamesEveryProblemAndNoPassword(t *testing.T) {
	t.Parallel()
	_, err := postgres.Open(postgres.Config{URL: "postgres://app:hunter2@db:port/orders", MaxConns: -1, ConnectTimeout: -1})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Fatal(err)
	}
	for _, field := range []string{"URL:", "MaxConns:", "ConnectTimeout:"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v\ndoes not name %s", err, field)
		}
	}
}
