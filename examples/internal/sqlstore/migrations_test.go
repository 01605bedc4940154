package sqlstore_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/outbox"
)

// Processes that start at once bring the schema once, and all find it there.
func TestUp(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		db, dialect, err := sqlstore.Open(on.Database(t), nil, "test")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		m := orders.Schema(dialect)
		if err := m.Check(t.Context(), db); !errors.Is(err, outbox.ErrSchema) {
			t.Errorf("before: %v, want ErrSchema", err)
		}
		var mu sync.Mutex
		var applied []string
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				steps, err := m.Up(t.Context(), db)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, s := range steps {
					applied = append(applied, s.Name)
				}
			})
		}
		wg.Wait()
		if len(applied) != 3 {
			t.Errorf("applied %q, want each of the three steps once", applied)
		}
		if err := m.Check(t.Context(), db); err != nil {
			t.Error(err)
		}
		exampletest.Execute(t, db, `DELETE FROM orders_schema WHERE version = 3`)
		if err := m.Check(t.Context(), db); !errors.Is(err, outbox.ErrSchema) {
			t.Errorf("a step is missing: %v, want ErrSchema", err)
		}
	})
}
