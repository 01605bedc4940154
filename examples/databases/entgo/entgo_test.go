package entgo_test

import (
	"context"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/asimalizada/pulse-events/examples/databases/entgo"
	"github.com/asimalizada/pulse-events/examples/databases/entgo/ent"
	"github.com/asimalizada/pulse-events/examples/databases/internal/databasetest"
)

func TestEnt(t *testing.T) {
	databasetest.Run(t, func(_ *testing.T, db databasetest.Database) databasetest.Library {
		kind := dialect.SQLite
		if db.URL != "" {
			kind = dialect.Postgres
		}
		client := ent.NewClient(ent.Driver(entsql.OpenDB(kind, db.DB.DB)))
		return databasetest.Library{
			PlaceOrder: func(ctx context.Context, orderID, customerID string) error {
				return entgo.PlaceOrder(ctx, client, db.Outbox, ent.Order{ID: orderID, CustomerID: customerID, AmountCents: 7750})
			},
			Notify:     entgo.Notify(kind),
			NotifyInTx: entgo.NotifyInTx(client, db.Inbox),
		}
	})
}
