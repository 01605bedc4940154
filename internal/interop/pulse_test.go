package interop

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
	"github.com/asimalizada/pulse-events/outbox/wire"
)

// order is the event that clients receive.
func order() outbox.Message {
	return outbox.Message{
		ID: uuid.Must(uuid.NewV7()), Topic: "order.created", Type: "OrderCreated", Key: "order-7", Seq: 9007199254740993,
		Payload: []byte(`{"total":77.5,"text":"größe <b>"}`), ContentType: "application/json", Headers: map[string]string{"tenant": "acme"},
		CorrelationID: "c1", CausationID: "e0", OccurredAt: time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, time.UTC),
	}
}

// publish publishes a message in a format.
func publish(t *testing.T, url, exchange string, codec wire.Encoder, msg outbox.Message) {
	t.Helper()
	p, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: url, Exchange: exchange, Producer: "orders", Codec: codec, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	testenv.Eventually(t, patience, "the message to be published", func() bool {
		err := p.Publish(t.Context(), []outbox.Message{msg})[0]
		if err != nil && !outbox.IsUnavailable(err) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// consumer applies what comes to a queue, and counts copies.
type consumer struct {
	t       *testing.T
	queue   string
	applied chan inbox.Message
	health  func() inbox.Health
}

func consume(t *testing.T, url string, interpret ...inboxrabbit.Interpreter) *consumer {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	db, err := sqlite.Open(filepath.Join(t.TempDir(), "inbox.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	in, err := inbox.New(db, "notifications")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := &consumer{t: t, queue: testenv.UniqueName(t, "stock"), applied: make(chan inbox.Message, 100)}
	source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{
		URL: url, Queue: c.queue, Exchange: testenv.UniqueName(t, "events"), Interpret: interpret, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	handler := func(_ context.Context, _ inbox.Tx, msg inbox.Message) error {
		c.applied <- msg
		return nil
	}
	consumer, err := inbox.NewConsumer(in, source, handler, inbox.ConsumerConfig{Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	c.health = consumer.Health
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	testenv.Eventually(t, patience, "the subscription", func() bool {
		connected, _ := source.Health()
		return connected
	})
	return c
}

// wantApplied waits until a number of deliveries has been applied or skipped
// as copies, and returns what was applied by id.
func (c *consumer) wantApplied(applied, duplicates int64) map[string]inbox.Message {
	c.t.Helper()
	testenv.Eventually(c.t, patience, "all deliveries", func() bool {
		h := c.health()
		return h.Applied+h.Duplicates+h.DeadLettered+h.Retried >= applied+duplicates
	})
	if h := c.health(); h.Applied != applied || h.Duplicates != duplicates {
		c.t.Errorf("applied %d, duplicates %d, dead letters %d, retried %d; want %d and %d", h.Applied, h.Duplicates, h.DeadLettered, h.Retried, applied, duplicates)
	}
	messages := make(map[string]inbox.Message)
	for range len(c.applied) {
		m := <-c.applied
		if _, again := messages[m.ID]; again {
			c.t.Errorf("%s was applied twice", m.ID)
		}
		messages[m.ID] = m
	}
	return messages
}
