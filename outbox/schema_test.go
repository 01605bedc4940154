package outbox

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Every method tells a database without the tables from one that fails.
func TestOutboxWithoutSchema(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.unmigrated(t)
		ctx, id := t.Context(), uuid.New()
		for name, err := range map[string]error{
			"CheckSchema": ob.CheckSchema(ctx),
			"Enqueue":     inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(ctx, tx, Message{Topic: "t"}) }),
			"List":        second(ob.List(ctx, ListQuery{})),
			"Get":         second(ob.Get(ctx, id)),
			"Count":       func() error { _, _, err := ob.Count(ctx, ListQuery{}, 1); return err }(),
			"Stats":       second(ob.Stats(ctx)),
			"Retry":       second(ob.Retry(ctx, id)),
			"Discard":     second(ob.Discard(ctx, "test", id)),
			"Purge":       second(ob.Purge(ctx, 0)),
			"Audit":       second(ob.Audit(ctx, AuditQuery{})),
			"Pauses":      second(ob.Pauses(ctx)),
			"Pause":       second(ob.Operator("a", "r").Pause(ctx, "t")),
		} {
			if !errors.Is(err, ErrSchema) {
				t.Errorf("%s: %v, want ErrSchema", name, err)
			}
		}
		steps, err := ob.Migrations(ctx)
		if err != nil || len(steps) == 0 || !steps[0].AppliedAt.IsZero() {
			t.Errorf("Migrations: %+v, %v; want none applied", steps, err)
		}
		// An older schema lacks columns rather than tables.
		if _, err := ob.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		db.MustExec(`ALTER TABLE outbox_messages RENAME COLUMN discarded_at TO gone`)
		if _, err := ob.List(ctx, ListQuery{}); !errors.Is(err, ErrSchema) {
			t.Errorf("a column is missing: %v, want ErrSchema", err)
		}
		db.MustExec(`DELETE FROM outbox_schema`)
		db.MustExec(`ALTER TABLE outbox_messages RENAME TO gone`)
		if err := ob.CheckSchema(ctx); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "is at version 0") {
			t.Errorf("CheckSchema behind: %v", err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestErrSchemaNotForOtherErrors(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		db.Close()
		if _, err := ob.List(t.Context(), ListQuery{}); err == nil || errors.Is(err, ErrSchema) {
			t.Errorf("%v, want an error that is no ErrSchema", err)
		}
	})
}

func TestMigrateTwice(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.unmigrated(t)
		want, err := Schema(Dialect(d.dialect))
		if err != nil {
			t.Fatal(err)
		}
		applied, err := ob.Migrate(t.Context())
		if err != nil || len(applied) != len(want) {
			t.Fatalf("%d steps applied, %v; want %d", len(applied), err, len(want))
		}
		enqueue(t, ob, Message{Topic: "t"})
		if applied, err = ob.Migrate(t.Context()); err != nil || len(applied) != 0 {
			t.Errorf("second time: %d steps applied, %v; want none", len(applied), err)
		}
		steps, err := ob.Migrations(t.Context())
		if err != nil || len(steps) != len(want) || time.Since(steps[0].AppliedAt) > time.Hour {
			t.Errorf("%+v, %v", steps, err)
		}
		if err := ob.CheckSchema(t.Context()); err != nil {
			t.Error(err)
		}
		if n, _, _ := ob.Count(t.Context(), ListQuery{}, 10); n != 1 {
			t.Errorf("%d rows after the second migration, want the one from before", n)
		}
		if _, err := Schema("oracle"); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%v, want ErrUnsupported", err)
		}
	})
}

// Services start at once, in one process and in several: one of them migrates,
// and all find the schema.
func TestMigrateConcurrently(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		if d.dialect == sqldb.SQLite {
			migrateAtOnce(t, d, d.create(t))
			return
		}
		for _, isolation := range []string{"read committed", "serializable"} {
			t.Run(isolation, func(t *testing.T) {
				url := d.create(t)
				db := d.connect(t, url)
				var name string
				if err := db.Get(&name, `SELECT quote_ident(current_database())`); err != nil {
					t.Fatal(err)
				}
				db.MustExec(`ALTER DATABASE ` + name + ` SET default_transaction_isolation = '` + isolation + `'`)
				migrateAtOnce(t, d, url)
			})
		}
	})
}

func migrateAtOnce(t *testing.T, d database, url string) {
	t.Helper()
	db := d.connect(t, url)
	var wg sync.WaitGroup
	const processes, connections = 3, 4
	applied := make(chan int, processes+connections)
	for range processes {
		wg.Go(func() {
			var n int
			out := child(t, childMigrates, url)
			if _, err := fmt.Sscanf(out, "applied %d", &n); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			applied <- n
		})
	}
	for range connections {
		wg.Go(func() {
			ob, err := New(db)
			if err != nil {
				t.Error(err)
				return
			}
			steps, err := ob.Migrate(t.Context())
			if err != nil {
				t.Error(err)
			}
			applied <- len(steps)
		})
	}
	wg.Wait()
	close(applied)
	sum, want := 0, 0
	for n := range applied {
		sum += n
	}
	if steps, err := Schema(Dialect(d.dialect)); err == nil {
		want = len(steps)
	}
	if sum != want {
		t.Errorf("%d steps applied by all together, want %d", sum, want)
	}
	if ob, err := New(db); err != nil || ob.CheckSchema(t.Context()) != nil {
		t.Errorf("%v, %v", err, ob.CheckSchema(t.Context()))
	}
}
