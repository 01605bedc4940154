package acceptance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"
)

const topic = "order.created"

func orderBringsNotification(ctx context.Context, v *visitor) error {
	if list, err := v.notificationsOf(ctx, uuid.NewString()); err != nil || len(list) != 0 {
		return errors.Join(err, fmt.Errorf("%d notifications of an order that does not exist", len(list)))
	}
	p, err := v.place(ctx, someOrder)
	if err != nil {
		return err
	}
	n, err := v.awaitNotification(ctx, p.OrderID)
	if err != nil {
		return err
	}
	if _, err := uuid.Parse(n.ID); err != nil || n.ID == n.EventID {
		return fmt.Errorf("notification id %q", n.ID)
	}
	if n.OrderID != p.OrderID || n.EventID != p.EventID || n.CorrelationID != p.CorrelationID ||
		n.CustomerID != "acceptance-customer" || n.Amount != "77.5" || n.CreatedAt.IsZero() || n.CreatedAt.Location() != time.UTC {
		return fmt.Errorf("notification %+v of order %+v", n, p)
	}
	return nil
}

func eventKeepsTheContract(ctx context.Context, v *visitor) error {
	t, err := v.tap(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	p, err := v.place(ctx, someOrder, "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if err != nil {
		return err
	}
	d, err := t.next(p.EventID)
	if err != nil {
		return err
	}
	var problems []error
	for what, pair := range map[string][2]any{
		"exchange": {d.Exchange, v.Exchange}, "routing key": {d.RoutingKey, topic}, "message_id": {d.MessageId, p.EventID},
		"type": {d.Type, "OrderCreated"}, "correlation_id": {d.CorrelationId, p.CorrelationID},
		"content_type": {d.ContentType, "application/json"}, "delivery mode": {d.DeliveryMode, amqp.Persistent},
		"x-correlation-id": {d.Headers["x-correlation-id"], p.CorrelationID}, "pulse-key": {d.Headers["pulse-key"], p.OrderID},
		"traceparent": {d.Headers["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	} {
		if pair[0] != pair[1] {
			problems = append(problems, fmt.Errorf("%s of the message: %v, want %v", what, pair[0], pair[1]))
		}
	}
	contract, err := sample[map[string]any]("contracts", "order.created.json")
	if err != nil {
		return err
	}
	var body map[string]any
	if err := json.Unmarshal(d.Body, &body); err != nil {
		return errors.Join(append(problems, fmt.Errorf("body %s: %w", d.Body, err))...)
	}
	if got, want := slices.Sorted(maps.Keys(body)), slices.Sorted(maps.Keys(contract)); !slices.Equal(got, want) {
		problems = append(problems, fmt.Errorf("the body has %q, the contract %q", got, want))
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(body["occurredAt"]))
	if err != nil || at.Location() != time.UTC || !at.Truncate(time.Second).Equal(d.Timestamp) {
		problems = append(problems, fmt.Errorf("occurredAt %v, timestamp %v (%v)", body["occurredAt"], d.Timestamp, err))
	}
	// Whatever the database, the order tells the time of its event to the digit.
	a, err := v.ask(ctx, http.MethodGet, v.OrdersURL+"/orders/"+p.OrderID, "")
	if err != nil {
		return err
	}
	if o, err := decode[order](a, http.StatusOK); err != nil || !o.CreatedAt.Equal(at) {
		problems = append(problems, a.wrong("want createdAt to be %v as in the event (%v)", at, err))
	}
	delete(body, "occurredAt")
	want := map[string]any{"eventId": p.EventID, "eventType": "OrderCreated", "correlationId": p.CorrelationID,
		"orderId": p.OrderID, "customerId": "acceptance-customer", "amount": 77.5}
	if d.AppId == "" {
		problems = append(problems, errors.New("the message does not name its producer (app_id)"))
	}
	if !maps.Equal(body, want) {
		problems = append(problems, fmt.Errorf("body %s, want %v", d.Body, want))
	}
	return errors.Join(problems...)
}

func refusedOrderPublishesNothing(ctx context.Context, v *visitor) error {
	t, err := v.tap(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	refusedID, takenID := uuid.NewString(), uuid.NewString()
	a, err := v.ask(ctx, http.MethodPost, v.OrdersURL+"/orders", `{"customerId":"acceptance-customer","amount":-1}`, "x-correlation-id", refusedID)
	if err != nil {
		return err
	}
	if err := refused(a, http.StatusBadRequest, "invalid_order", "amount"); err != nil {
		return err
	}
	p, err := v.place(ctx, someOrder, "x-correlation-id", takenID)
	if err != nil {
		return err
	}
	if _, err := t.next(p.EventID); err != nil {
		return err
	}
	if t.seen[refusedID] {
		return errors.New("an event of a refused order was published")
	}
	return nil
}

func redeliveryIsHarmless(ctx context.Context, v *visitor) error {
	const copies = 5
	t, err := v.tap(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	p, err := v.place(ctx, someOrder)
	if err != nil {
		return err
	}
	d, err := t.next(p.EventID)
	if err != nil {
		return err
	}
	if _, err := v.awaitNotification(ctx, p.OrderID); err != nil {
		return err
	}
	before, counted, err := v.duplicates(ctx)
	if err != nil {
		return err
	}
	if err := t.publish(ctx, d, copies); err != nil {
		return err
	}
	if counted { // the service says when it is through
		err := v.until(ctx, "the duplicates to be counted", func() (bool, error) {
			now, _, err := v.duplicates(ctx)
			return now >= before+copies, err
		})
		if err != nil {
			return err
		}
	}
	// Those that came later have been handled by then, with some likelihood.
	last, err := v.place(ctx, someOrder)
	if err != nil {
		return err
	}
	for _, id := range []string{last.OrderID, p.OrderID} {
		if _, err := v.awaitNotification(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// duplicates is how many copies the notifications service has skipped. That it
// counts them is not part of the contract.
func (v *visitor) duplicates(ctx context.Context) (n int, counted bool, err error) {
	a, err := v.ask(ctx, http.MethodGet, v.NotificationsURL+"/health/ready", "")
	if err != nil {
		return 0, false, err
	}
	h, err := decode[struct{ Consumer struct{ Duplicates *int } }](a, http.StatusOK)
	if err != nil || h.Consumer.Duplicates == nil {
		return 0, false, err
	}
	return *h.Consumer.Duplicates, true, nil
}
