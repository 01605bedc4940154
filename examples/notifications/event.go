package notifications

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/examples/money"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

// The event this service listens to.
const (
	OrderCreatedTopic = "order.created" // routing key
	OrderCreatedType  = "OrderCreated"
)

// OrderCreated is the body of the event as far as this service cares, as
// testdata/contracts/order.created.json shows it.
type OrderCreated struct {
	EventID       uuid.UUID    `json:"eventId"`
	EventType     string       `json:"eventType"`
	OccurredAt    time.Time    `json:"occurredAt"`
	CorrelationID string       `json:"correlationId"`
	OrderID       uuid.UUID    `json:"orderId"`
	CustomerID    string       `json:"customerId"`
	Amount        money.Amount `json:"amount"`
}

// DecodeOrderCreated reads the event from a message. What breaks the contract
// will break it again tomorrow, so the error asks for the dead-letter queue.
// Fields the contract has gained since are let pass.
func DecodeOrderCreated(msg inbox.Message) (OrderCreated, error) {
	var e OrderCreated
	if err := json.Unmarshal(msg.Payload, &e); err != nil {
		return OrderCreated{}, inbox.DeadLetterFor(fmt.Errorf("decode %s: %w", OrderCreatedType, err), inbox.ReasonUndecodable)
	}
	if problems := e.problems(msg.ID); len(problems) > 0 {
		return OrderCreated{}, inbox.DeadLetterFor(fmt.Errorf("decode %s: %w", OrderCreatedType, errors.New(strings.Join(problems, "; "))), inbox.ReasonContract)
	}
	return e, nil
}

func (e OrderCreated) problems(messageID string) (problems []string) {
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if e.EventID.String() != messageID {
		add("eventId %s is not the id of the message, %q", e.EventID, messageID)
	}
	if e.EventType != OrderCreatedType {
		add("eventType is %q", e.EventType)
	}
	if e.OccurredAt.IsZero() {
		add("occurredAt is missing")
	}
	if !outbox.ValidCorrelationID(e.CorrelationID) {
		add("correlationId must be 1 to 255 visible ASCII characters")
	}
	if e.OrderID == uuid.Nil {
		add("orderId is missing")
	}
	if strings.TrimSpace(e.CustomerID) == "" || strings.ContainsRune(e.CustomerID, 0) {
		add("customerId is blank or no text")
	}
	if e.Amount == 0 {
		add("amount is missing")
	}
	return problems
}
