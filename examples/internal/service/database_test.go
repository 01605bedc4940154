package service

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/lib/pq"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/outbox"
)

// What costs a message no attempt: trouble that others would have as well.
func TestAway(t *testing.T) {
	there, err := OpenDatabase(Settings{DatabaseURL: sqlstore.SQLiteURL(filepath.Join(t.TempDir(), "there.db"))}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	gone, err := OpenDatabase(Settings{DatabaseURL: "postgres://127.0.0.1:1/orders"}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	for _, c := range []struct {
		about       string
		err         error
		there, gone bool
	}{
		{"time was up", context.DeadlineExceeded, false, true},
		{"a standby", &pq.Error{Code: "25006"}, true, true},
		{"no rights", &pq.Error{Code: "42501"}, true, true},
		{"no schema", outbox.ErrSchema, true, true},
		{"a deadlock", &pq.Error{Code: "40P01"}, false, false},
		{"bad data", &pq.Error{Code: "23505"}, false, false},
		{"a defect", errors.New("nil map"), false, false},
	} {
		if got := there.Away(t.Context(), c.err); got != c.there {
			t.Errorf("%s, database there: %v", c.about, got)
		}
		if got := gone.Away(t.Context(), c.err); got != c.gone {
			t.Errorf("%s, database gone: %v", c.about, got)
		}
	}
}
