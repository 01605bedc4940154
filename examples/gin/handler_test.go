package gin

import (
	"context"
	"log/slog"
	"testing"

	"gorm.io/gorm"

	"github.com/asimalizada/pulse-events/examples/internal/exampletest"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/inbox"
)

// A handler that is lent its transaction can use GORM on it, as it is.
func TestGORMOnTheTransactionOfAHandler(t *testing.T) {
	exampletest.OnEachPlatform(t, func(t *testing.T, on exampletest.Platform) {
		db, err := openStore(Settings{DatabaseURL: on.Database(t)}, "test", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := orders.Schema(db.Dialect).Up(t.Context(), db.DB); err != nil {
			t.Fatal(err)
		}
		in, err := inbox.New(db.DB, "orders")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		order := orders.Place(orders.Draft{CustomerID: "customer-1", Amount: 100}, "checkout-4711")
		for _, want := range []inbox.Outcome{inbox.Processed, inbox.Duplicate} {
			got, err := in.Once(t.Context(), inbox.Message{ID: "event-1"}, func(ctx context.Context, tx inbox.Tx) error {
				orm := db.orm.Session(&gorm.Session{NewDB: true, Context: ctx})
				orm.Statement.ConnPool = tx
				if err := orm.Create(newOrderRow(order)).Error; err != nil {
					return err
				}
				if err := orm.Model(&orderRow{}).Where("id = ?", order.ID).Update("customer_id", "customer-2").Error; err != nil {
					return err
				}
				var found []orderRow
				if err := orm.Where("customer_id = ?", "customer-2").Find(&found).Error; err != nil || len(found) != 1 {
					t.Errorf("found %+v, %v", found, err)
				}
				return nil
			})
			if got != want || err != nil {
				t.Errorf("Once: %s, %v; want %s", got, err, want)
			}
		}
		var n int64
		if err := db.orm.Model(&orderRow{}).Where("customer_id = ?", "customer-2").Count(&n).Error; err != nil || n != 1 {
			t.Errorf("%d orders, %v; want 1", n, err)
		}
	})
}
