// Package notifications is the domain of the notifications service: what it
// understands of other services' events, and what it tells customers. It knows
// no web framework and no way of storing, so that every stack of the examples
// shares it. It shares the contract with the orders service, not its code.
package notifications

import (
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/money"
)

// Notification tells a customer that an order was received.
type Notification struct {
	ID            uuid.UUID    `json:"id" db:"id"`
	OrderID       uuid.UUID    `json:"orderId" db:"order_id"`
	EventID       uuid.UUID    `json:"eventId" db:"event_id"`
	CustomerID    string       `json:"customerId" db:"customer_id"`
	Amount        money.Amount `json:"amount" db:"amount_cents"`
	CorrelationID string       `json:"correlationId" db:"correlation_id"`
	CreatedAt     time.Time    `json:"createdAt" db:"created_at"` // the database's clock, when stored
}

// For returns the notification an event calls for, with an id of its own.
func For(e OrderCreated) Notification {
	return Notification{
		ID:            uuid.Must(uuid.NewV7()),
		OrderID:       e.OrderID,
		EventID:       e.EventID,
		CustomerID:    e.CustomerID,
		Amount:        e.Amount,
		CorrelationID: e.CorrelationID,
	}
}
