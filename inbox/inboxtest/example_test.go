package inboxtest_test

import (
	"context"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

func notify(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO notifications (event_id) VALUES ($1)`, msg.ID)
	return err
}

// In a test of a handler: t and db are the test's own.
func ExampleDeliverTwice() {
	var (
		t  *testing.T
		db *sqlx.DB
	)
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	msg := inbox.Message{ID: "event-1", Topic: "order.created", Payload: []byte(`{"orderId":"o-1"}`)}
	inboxtest.DeliverTwice(t, in, notify, msg)
	inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM notifications WHERE event_id = $1`, msg.ID)
}

// In a test of a whole consumer: the connection is lost while it works.
func ExampleQueue() {
	var (
		t  *testing.T
		in *inbox.Inbox
	)
	q := inboxtest.NewQueue()
	q.Publish(
		inbox.Message{ID: "event-1", Topic: "order.created"},
		inbox.Message{ID: "event-2", Topic: "order.created"},
	)
	consumer, err := inbox.NewConsumer(in, q, notify, inbox.ConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- consumer.Run(ctx) }()
	q.Disconnect()
	q.WaitUntilEmpty(t)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// In a test of a mux: a typed event goes to its handler, twice.
func ExampleEvent() {
	var (
		t   *testing.T
		in  *inbox.Inbox
		mux *inbox.Mux
	)
	msg := inboxtest.Event(t, "OrderCreated", struct {
		OrderID string `json:"orderId"`
	}{"o-1"})
	inboxtest.DeliverTwice(t, in, mux.Handle, msg)
}
