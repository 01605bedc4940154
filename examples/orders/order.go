// Package orders is the domain of the orders service: what an order is, what
// makes one valid, and the event that tells of it. It knows no web framework
// and no way of storing, so that every stack of the examples shares it.
package orders

import (
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/money"
)

// Order is an order that was placed.
type Order struct {
	ID            uuid.UUID    `json:"orderId" db:"id"`
	EventID       uuid.UUID    `json:"eventId" db:"event_id"` // of the event that tells of it
	CustomerID    string       `json:"customerId" db:"customer_id"`
	Amount        money.Amount `json:"amount" db:"amount_cents"`
	CorrelationID string       `json:"correlationId" db:"correlation_id"`
	CreatedAt     time.Time    `json:"createdAt" db:"created_at"`
}

// Place makes an order of a draft, with an id of its own and the time of now.
func Place(d Draft, correlationID string) Order {
	return Order{
		ID:            uuid.Must(uuid.NewV7()),
		EventID:       uuid.Must(uuid.NewV7()),
		CustomerID:    d.CustomerID,
		Amount:        d.Amount,
		CorrelationID: correlationID,
		// Microseconds are what databases keep: event and row tell the same time.
		CreatedAt: time.Now().UTC().Truncate(time.Microsecond),
	}
}
