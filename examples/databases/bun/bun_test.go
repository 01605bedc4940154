package bun_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"

	bunexample "github.com/asimalizada/pulse-events/examples/databases/bun"
	"github.com/asimalizada/pulse-events/examples/databases/internal/databasetest"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

func TestBun(t *testing.T) {
	databasetest.Run(t, func(_ *testing.T, db databasetest.Database) databasetest.Library {
		var dialect schema.Dialect = sqlitedialect.New()
		if db.URL != "" {
			dialect = pgdialect.New()
		}
		bundb := bun.NewDB(db.DB.DB, dialect)
		return databasetest.Library{
			PlaceOrder: func(ctx context.Context, orderID, customerID string) error {
				return bunexample.PlaceOrder(ctx, bundb, db.Outbox, &bunexample.Order{ID: orderID, CustomerID: customerID, AmountCents: 7750})
			},
			Notify:     bunexample.Notify(bundb),
			NotifyInTx: bunexample.NotifyInTx(bundb, db.Inbox),
		}
	})
}

// A bun.Tx would change the statement: the error tells what to pass instead.
func TestTxIsRefused(t *testing.T) {
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "shop.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	err = bun.NewDB(db.DB, sqlitedialect.New()).RunInTx(t.Context(), nil, func(ctx context.Context, tx bun.Tx) error {
		return ob.Enqueue(ctx, tx, outbox.NewMessage("order.created", []byte(`{}`)))
	})
	if !errors.Is(err, outbox.ErrNoTransaction) || !strings.Contains(err.Error(), "the Tx of a bun.Tx") {
		t.Errorf("%v, want ErrNoTransaction with advice", err)
	}
}
