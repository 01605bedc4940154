package sqlc_test

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/asimalizada/pulse-events/examples/databases/internal/databasetest"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc/pgxstore"
	"github.com/asimalizada/pulse-events/examples/databases/sqlc/store"
)

func TestDatabaseSQL(t *testing.T) {
	databasetest.Run(t, func(_ *testing.T, db databasetest.Database) databasetest.Library {
		return databasetest.Library{
			PlaceOrder: func(ctx context.Context, orderID, customerID string) error {
				order := store.InsertOrderParams{ID: orderID, CustomerID: customerID, AmountCents: 7750}
				return sqlc.PlaceOrder(ctx, db.DB.DB, db.Outbox, order)
			},
			Notify:     sqlc.Notify,
			NotifyInTx: sqlc.NotifyInTx(db.DB.DB, db.Inbox),
		}
	})
}

func TestPgx(t *testing.T) {
	databasetest.RunPostgres(t, func(t *testing.T, db databasetest.Database) databasetest.Library {
		pool, err := pgxpool.New(t.Context(), db.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return databasetest.Library{
			PlaceOrder: func(ctx context.Context, orderID, customerID string) error {
				order := pgxstore.InsertOrderParams{ID: orderID, CustomerID: customerID, AmountCents: 7750}
				return sqlc.PlaceOrderPgx(ctx, pool, db.Outbox, order)
			},
			NotifyInTx: sqlc.NotifyPgx(pool, db.Inbox),
		}
	})
}
