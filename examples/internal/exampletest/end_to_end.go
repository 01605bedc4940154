package exampletest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// PostAnswersThreeIDs tests that the answer to an order names order, event and correlation.
func (k Stack) PostAnswersThreeIDs(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		url, _, _ := k.StartOrders(t, on)
		status, body := Ask(t, http.MethodPost, url+"/orders", `{"customerId":"customer-123","amount":77.5}`)
		answer := Decode[map[string]string](t, body)
		if status != http.StatusCreated || len(answer) != 3 || answer["orderId"] == answer["eventId"] {
			t.Fatalf("%d %s", status, body)
		}
		for _, name := range []string{"orderId", "eventId", "correlationId"} {
			if _, err := uuid.Parse(answer[name]); err != nil {
				t.Errorf("%s: %q", name, answer[name])
			}
		}
	})
}

// OrderAndEventStandOrFallTogether tests that order and outbox row stand in one transaction, and neither
// after it was rolled back.
func (k Stack) OrderAndEventStandOrFallTogether(t *testing.T) {
	const body = `{"customerId":"customer-123","amount":77.5}`
	for _, c := range []struct {
		about    string
		sabotage map[sqldb.Dialect]string
	}{
		{"the event cannot be stored", map[sqldb.Dialect]string{
			sqldb.PostgreSQL: `ALTER TABLE outbox_messages ADD CONSTRAINT none CHECK (false) NOT VALID`,
			sqldb.SQLite:     `CREATE TRIGGER refuse BEFORE INSERT ON outbox_messages BEGIN SELECT RAISE (ABORT, 'refused'); END`,
		}},
		{"the order cannot be stored", map[sqldb.Dialect]string{
			sqldb.PostgreSQL: `ALTER TABLE orders ADD CONSTRAINT none CHECK (false) NOT VALID`,
			sqldb.SQLite:     `CREATE TRIGGER refuse BEFORE INSERT ON orders BEGIN SELECT RAISE (ABORT, 'refused'); END`,
		}},
		{"the commit fails", map[sqldb.Dialect]string{
			sqldb.PostgreSQL: `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
				CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`,
			sqldb.SQLite: `CREATE TABLE refusals (order_id text REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED);
				CREATE TRIGGER refuse AFTER INSERT ON orders BEGIN INSERT INTO refusals VALUES ('no order'); END`,
		}},
	} {
		t.Run(c.about, func(t *testing.T) {
			OnEachPlatform(t, func(t *testing.T, on Platform) {
				url, cfg, logs := k.StartOrders(t, on)
				db := Open(t, cfg.DatabaseURL)
				status, answer := Ask(t, http.MethodPost, url+"/orders", body)
				if status != http.StatusCreated {
					t.Fatalf("%d %s", status, answer)
				}
				p := Decode[Placed](t, answer)
				joined := Count(t, db, `orders o JOIN outbox_messages m ON m.key = CAST(o.id AS text) AND m.id = o.event_id
					WHERE o.id = $1 AND m.id = $2 AND m.correlation_id = $3 AND `+SameTransaction(t, db, "m", "o"), p.OrderID, p.EventID, p.CorrelationID)
				if joined != 1 {
					t.Fatalf("%d pairs of order and outbox row written by one transaction, want 1", joined)
				}

				Execute(t, db, c.sabotage[Dialect(t, db)])
				res, answer := Exchange(t, http.MethodPost, url+"/orders", body)
				if code, _ := Refused(t, c.about, res, answer, http.StatusInternalServerError); code != "internal" {
					t.Errorf("code %s", code)
				}
				if orders, rows := Count(t, db, "orders"), Count(t, db, "outbox_messages"); orders != 1 || rows != 1 {
					t.Errorf("%d orders and %d outbox rows, want those of the first request alone", orders, rows)
				}
				if logs.Find(t, map[string]any{"msg": "request failed", "correlation_id": res.Header.Get("x-correlation-id")}) == nil {
					t.Error("the logs do not tell why")
				}
			})
		})
	}
}

// RelayPublishesOrderCreated tests that the relay publishes OrderCreated as the contract has it.
func (k Stack) RelayPublishesOrderCreated(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		s := k.start(t, on)
		next := s.tap(t)
		p := s.order(t)
		d := next()
		if d.Exchange != s.exchange || d.RoutingKey != "order.created" || d.MessageId != p.EventID || d.Type != "OrderCreated" ||
			d.AppId != "orders" || d.ContentType != "application/json" || d.DeliveryMode != 2 || d.Headers["pulse-key"] != p.OrderID {
			t.Errorf("message %+v", d)
		}
		var event struct {
			EventID, EventType, CorrelationID, OrderID, CustomerID string
			OccurredAt                                             time.Time
			Amount                                                 json.Number
		}
		if err := json.Unmarshal(d.Body, &event); err != nil {
			t.Fatal(err)
		}
		if event.EventID != p.EventID || event.EventType != "OrderCreated" || event.CorrelationID != p.CorrelationID ||
			event.OrderID != p.OrderID || event.CustomerID != "customer-123" || event.Amount != "77.5" ||
			event.OccurredAt.Truncate(time.Second) != d.Timestamp.UTC() {
			t.Errorf("body %s", d.Body)
		}
		// Whatever the database, the order tells the time of its event to the digit.
		_, text := Ask(t, http.MethodGet, s.orders+"/orders/"+p.OrderID, "")
		if got, want := Decode[map[string]any](t, text)["createdAt"], Decode[map[string]any](t, d.Body)["occurredAt"]; got != want {
			t.Errorf("created at %v, event at %v", got, want)
		}
		testenv.Eventually(t, Patience, "the row to be published", func() bool {
			return s.outboxRow(t, p.EventID).Status == outbox.Published
		})
	})
}

// ConsumerRecordsEventAndNotification tests that the consumer records the event in the inbox, together with one
// notification.
func (k Stack) ConsumerRecordsEventAndNotification(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		s := k.start(t, on)
		p := s.order(t)
		n := s.awaitNotification(t, p.OrderID)
		if n.OrderID != p.OrderID || n.EventID != p.EventID || n.CustomerID != "customer-123" || n.Amount != 77.5 || n.CorrelationID != p.CorrelationID {
			t.Errorf("notification %+v", n)
		}
		if _, err := uuid.Parse(n.ID); err != nil || n.ID == n.EventID {
			t.Errorf("notification id %q", n.ID)
		}
		if at, err := time.Parse(time.RFC3339Nano, n.CreatedAt); err != nil || at.Location() != time.UTC {
			t.Errorf("createdAt %q", n.CreatedAt)
		}
		joined := Count(t, s.notificationsDB, `processed_events e JOIN notifications n ON CAST(n.event_id AS text) = e.event_id
			WHERE e.consumer = 'notifications' AND e.event_id = $1 AND `+SameTransaction(t, s.notificationsDB, "n", "e"), p.EventID)
		if joined != 1 {
			t.Errorf("%d pairs of processed event and notification written by one transaction, want 1", joined)
		}
	})
}

// OneNotificationHoweverOftenTheMessageComes tests that there is one notification, however often the message comes; also to an
// instance that was not there the first time.
func (k Stack) OneNotificationHoweverOftenTheMessageComes(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		s := k.start(t, on)
		p := s.order(t)
		s.awaitNotification(t, p.OrderID)
		msg := s.outboxRow(t, p.EventID).Message

		s.deliverAgain(t, msg, 3)
		testenv.Eventually(t, Patience, "three duplicates", func() bool { return s.consumer(t).Duplicates == 3 })
		s.stopNotifications()
		s.startNotifications(t)
		s.deliverAgain(t, msg, 2)
		testenv.Eventually(t, Patience, "two duplicates", func() bool { return s.consumer(t).Duplicates == 2 })

		if list := s.notificationsOf(t, p.OrderID); len(list) != 1 {
			t.Errorf("%d notifications, want 1: %+v", len(list), list)
		}
		if got := s.consumer(t).Applied; got != 0 {
			t.Errorf("the second instance has applied %d messages, want none", got)
		}
		if n := Count(t, s.notificationsDB, "processed_events"); n != 1 {
			t.Errorf("%d processed events, want 1", n)
		}
	})
}

// BadMessagesAreSetAside tests that what breaks the contract goes to the dead letters and holds up nobody.
func (k Stack) BadMessagesAreSetAside(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		s := k.start(t, on)
		for _, payload := range []string{"not JSON", `{"eventId": 5}`, "{}"} {
			s.deliverAgain(t, outbox.NewMessage("order.created", []byte(payload)), 1)
		}
		p := s.order(t)
		s.awaitNotification(t, p.OrderID)
		testenv.Eventually(t, Patience, "three dead letters", func() bool { return s.consumer(t).SetAside == 3 })
		if all := Count(t, s.notificationsDB, "notifications"); all != 1 {
			t.Errorf("%d notifications, want 1", all)
		}
	})
}
