package gin

import (
	"context"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/examples/money"
	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/outbox"
)

// The tables as GORM sees them. Their schema comes from the migrations of
// packages orders and notifications, never from these types.

// orderRow is a row of orders.
type orderRow struct {
	ID            uuid.UUID `gorm:"primaryKey"`
	EventID       uuid.UUID
	CustomerID    string
	Amount        money.Amount `gorm:"column:amount_cents"`
	CorrelationID string
	CreatedAt     instant
}

// TableName implements schema.Tabler.
func (orderRow) TableName() string { return "orders" }

func newOrderRow(o orders.Order) *orderRow {
	return &orderRow{o.ID, o.EventID, o.CustomerID, o.Amount, o.CorrelationID, instant{sqlstore.Instant{Time: o.CreatedAt}}}
}

func (r orderRow) order() orders.Order {
	return orders.Order{
		ID: r.ID, EventID: r.EventID, CustomerID: r.CustomerID, Amount: r.Amount,
		CorrelationID: r.CorrelationID, CreatedAt: r.CreatedAt.Time,
	}
}

// keyRow is a row of idempotency_keys. Its created_at is the database's clock.
type keyRow struct {
	Key           string `gorm:"primaryKey"`
	Fingerprint   []byte
	OrderID       uuid.UUID
	EventID       uuid.UUID
	CorrelationID string
}

// TableName implements schema.Tabler.
func (keyRow) TableName() string { return "idempotency_keys" }

func newKeyRow(a orders.Answered) *keyRow {
	return &keyRow{a.Key, a.Fingerprint, a.OrderID, a.EventID, a.CorrelationID}
}

func (r keyRow) answered() orders.Answered {
	return orders.Answered{Key: r.Key, Fingerprint: r.Fingerprint, Receipt: orders.Receipt{
		OrderID: r.OrderID, EventID: r.EventID, CorrelationID: r.CorrelationID,
	}}
}

// notificationRow is a row of notifications.
type notificationRow struct {
	ID            uuid.UUID `gorm:"primaryKey"`
	OrderID       uuid.UUID
	EventID       uuid.UUID
	CustomerID    string
	Amount        money.Amount `gorm:"column:amount_cents"`
	CorrelationID string
	CreatedAt     instant `gorm:"->"` // read only: the database's clock
}

// TableName implements schema.Tabler.
func (notificationRow) TableName() string { return "notifications" }

func newNotificationRow(n notifications.Notification) *notificationRow {
	return &notificationRow{
		ID: n.ID, OrderID: n.OrderID, EventID: n.EventID, CustomerID: n.CustomerID,
		Amount: n.Amount, CorrelationID: n.CorrelationID,
	}
}

func (r notificationRow) notification() notifications.Notification {
	return notifications.Notification{
		ID: r.ID, OrderID: r.OrderID, EventID: r.EventID, CustomerID: r.CustomerID,
		Amount: r.Amount, CorrelationID: r.CorrelationID, CreatedAt: r.CreatedAt.Time,
	}
}

// instant is a time in a column. GORM would hand drivers a time.Time, which on
// SQLite they write in forms of their own: they neither sort nor compare with
// what the database's clock writes.
type instant struct{ sqlstore.Instant }

// GormDataType makes the field a column; a struct would be a relation.
func (instant) GormDataType() string { return "timestamp" }

// GormValue writes the time as the dialect has it. The dialects of GORM are
// called as ours are.
func (i instant) GormValue(_ context.Context, db *gorm.DB) clause.Expr {
	return clause.Expr{SQL: "?", Vars: []any{sqlstore.TimeArg(outbox.Dialect(db.Name()), i.Time)}}
}
