package outbox

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/lib/pq"

	opener "github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestIsDatabaseUnavailable(t *testing.T) {
	ask := func(url, query string) error {
		db, _, err := opener.Open(url, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, err = db.ExecContext(t.Context(), query)
		return err
	}
	file := sqlite.URL(filepath.Join(t.TempDir(), "orders.db"))
	for _, c := range []struct {
		about                   string
		err                     error
		unavailable, unanswered bool
	}{
		{"no error", nil, false, false},
		{"a deadline has passed", context.DeadlineExceeded, true, true},
		{"nobody answers", ask("postgres://127.0.0.1:1/orders", `SELECT 1`), true, true},
		{"a standby", &pq.Error{Code: "25006"}, true, true},
		{"the server starts", &pq.Error{Code: "57P03"}, true, true},
		{"a deadlock", fmt.Errorf("insert: %w", &pq.Error{Code: "40P01"}), true, true},
		{"no rights", &pq.Error{Code: "42501"}, true, false},
		{"wrong password", &pq.Error{Code: "28P01"}, true, false},
		{"no schema", ErrSchema, true, false},
		{"no table", &pq.Error{Code: "42P01"}, true, false},
		{"no table on SQLite", ask(file, `INSERT INTO orders (id) VALUES (1)`), true, false},
		{"no folder on SQLite", ask(sqlite.URL(filepath.Join(t.TempDir(), "none", "orders.db")), `SELECT 1`), true, false},
		{"bad data", &pq.Error{Code: "23505"}, false, false},
		{"a wrong statement", &pq.Error{Code: "42601"}, false, false},
		{"a wrong statement on SQLite", ask(file, `INSERT INTO`), false, false},
		{"a defect", errors.New("nil map"), false, false},
	} {
		if got := IsDatabaseUnavailable(c.err); got != c.unavailable {
			t.Errorf("%s: unavailable %v: %v", c.about, got, c.err)
		}
		if got := IsDatabaseUnanswered(c.err); got != c.unanswered {
			t.Errorf("%s: unanswered %v: %v", c.about, got, c.err)
		}
	}
}

// A connection that pgx has closed has an error of its own.
func TestIsDatabaseUnavailableClosedConnection(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT 1`); !IsDatabaseUnavailable(err) || !IsDatabaseUnanswered(err) {
		t.Errorf("unavailable %v, unanswered %v: %v", IsDatabaseUnavailable(err), IsDatabaseUnanswered(err), err)
	}
}
