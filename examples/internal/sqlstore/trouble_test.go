package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/lib/pq"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
)

func TestUnavailable(t *testing.T) {
	file := exampletest.Open(t, sqlstore.SQLiteURL(filepath.Join(t.TempDir(), "orders.db")))
	_, noTable := file.ExecContext(t.Context(), `INSERT INTO orders (id) VALUES (1)`)
	_, syntax := file.ExecContext(t.Context(), `INSERT INTO`)
	folder := exampletest.Open(t, sqlstore.SQLiteURL(filepath.Join(t.TempDir(), "none", "orders.db")))
	noFolder := folder.PingContext(t.Context())
	nobody := exampletest.Open(t, "postgres://127.0.0.1:1/orders").PingContext(t.Context())
	for _, c := range []struct {
		about                   string
		err                     error
		unavailable, unanswered bool
	}{
		{"no error", nil, false, false},
		{"a deadline has passed", context.DeadlineExceeded, true, true},
		{"nobody answers", nobody, true, true},
		{"the URL's file is gone", fmt.Errorf("%w: %w", postgres.ErrNotConnected, errors.New("no such file")), true, true},
		{"a standby", &pq.Error{Code: "25006"}, true, true},
		{"the server starts", &pq.Error{Code: "57P03"}, true, true},
		{"a deadlock", &pq.Error{Code: "40P01"}, true, true},
		{"no rights", &pq.Error{Code: "42501"}, true, false},
		{"wrong password", &pq.Error{Code: "28P01"}, true, false},
		{"no schema", outbox.ErrSchema, true, false},
		{"no table", &pq.Error{Code: "42P01"}, true, false},
		{"no table on SQLite", noTable, true, false},
		{"no folder on SQLite", noFolder, true, false},
		{"bad data", &pq.Error{Code: "23505"}, false, false},
		{"a wrong statement", &pq.Error{Code: "42601"}, false, false},
		{"a wrong statement on SQLite", syntax, false, false},
		{"a defect", errors.New("nil map"), false, false},
	} {
		if got := sqlstore.Unavailable(c.err); got != c.unavailable {
			t.Errorf("%s: unavailable %v: %v", c.about, got, c.err)
		}
		if got := sqlstore.Unanswered(c.err); got != c.unanswered {
			t.Errorf("%s: unanswered %v: %v", c.about, got, c.err)
		}
	}
}
