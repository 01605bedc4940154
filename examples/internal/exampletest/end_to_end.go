package exampletest

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// OrderAndEventStandOrFallTogether tests that order and outbox row stand in one transaction, and neither
// after it was rolled back.
func (k Stack) OrderAndEventStandOrFallTogether(t *testing.T) {
	const body = `{"customerId":"customer-123","amount":77.5}`
	for _, c := range []struct {
		about    string
		sabotage map[outbox.Dialect]string
	}{
		{"the event cannot be stored", map[outbox.Dialect]string{
			outbox.PostgreSQL: `ALTER TABLE outbox_messages ADD CONSTRAINT none CHECK (false) NOT VALID`,
			outbox.SQLite:     `CREATE TRIGGER refuse BEFORE INSERT ON outbox_messages BEGIN SELECT RAISE (ABORT, 'refused'); END`,
		}},
		{"the order cannot be stored", map[outbox.Dialect]string{
			outbox.PostgreSQL: `ALTER TABLE orders ADD CONSTRAINT none CHECK (false) NOT VALID`,
			outbox.SQLite:     `CREATE TRIGGER refuse BEFORE INSERT ON orders BEGIN SELECT RAISE (ABORT, 'refused'); END`,
		}},
		{"the commit fails", map[outbox.Dialect]string{
			outbox.PostgreSQL: `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
				CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()`,
			outbox.SQLite: `CREATE TABLE refusals (order_id text REFERENCES orders (id) DEFERRABLE INITIALLY DEFERRED);
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

// BadMessagesAreDeadLettered tests that what breaks the contract goes to the dead letters and holds up nobody.
func (k Stack) BadMessagesAreDeadLettered(t *testing.T) {
	OnEachPlatform(t, func(t *testing.T, on Platform) {
		s := k.start(t, on)
		for _, payload := range []string{"not JSON", `{"eventId": 5}`, "{}"} {
			s.deliverAgain(t, outbox.NewMessage("order.created", []byte(payload)), 1)
		}
		p := s.order(t)
		s.awaitNotification(t, p.OrderID)
		testenv.Eventually(t, Patience, "three dead letters", func() bool { return s.consumer(t).DeadLettered == 3 })
		if all := Count(t, s.notificationsDB, "notifications"); all != 1 {
			t.Errorf("%d notifications, want 1", all)
		}
	})
}
