package orders

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/money"
	"github.com/asimalizada/pulse-events/outbox"
)

// The event that tells other services of a new order.
const (
	CreatedTopic = "order.created" // routing key
	CreatedType  = "OrderCreated"
)

// Created is the body of the event, as testdata/contracts/order.created.json shows it.
type Created struct {
	EventID       uuid.UUID    `json:"eventId"`
	EventType     string       `json:"eventType"`
	OccurredAt    time.Time    `json:"occurredAt"`
	CorrelationID string       `json:"correlationId"`
	OrderID       uuid.UUID    `json:"orderId"`
	CustomerID    string       `json:"customerId"`
	Amount        money.Amount `json:"amount"`
}

// Created returns the message that tells of the order. Its key is the order's
// id, so that all events of one order keep their order.
func (o Order) Created() (outbox.Message, error) {
	msg := outbox.NewMessage(CreatedTopic, nil)
	msg.ID = o.EventID
	msg.Type = CreatedType
	msg.Key = o.ID.String()
	msg.CorrelationID = o.CorrelationID
	msg.OccurredAt = o.CreatedAt
	payload, err := json.Marshal(Created{
		EventID:       o.EventID,
		EventType:     CreatedType,
		OccurredAt:    o.CreatedAt.UTC(),
		CorrelationID: o.CorrelationID,
		OrderID:       o.ID,
		CustomerID:    o.CustomerID,
		Amount:        o.Amount,
	})
	if err != nil {
		return outbox.Message{}, fmt.Errorf("encode %s: %w", CreatedType, err)
	}
	msg.Payload = payload
	return msg, nil
}
