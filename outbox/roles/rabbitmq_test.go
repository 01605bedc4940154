package roles_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/roles"
)

// Relay and consumer work with their permissions alone, retries and dead letters
// included, and can do no more.
func TestRabbitMQPermissions(t *testing.T) {
	admin := testenv.RabbitMQ(t)
	exchange, queue := testenv.UniqueName(t, "pulse.events"), testenv.UniqueName(t, "order.created")
	silent := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	source := func(url string, topology inboxrabbit.Topology) *inboxrabbit.Source {
		s, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{
			URL: url, Exchange: exchange, Queue: queue, Topics: []string{"order.created"}, RetryDelays: []time.Duration{10 * time.Millisecond},
			Topology: topology, Logger: silent,
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	// The administrator makes what the others use.
	maker := source(admin, inboxrabbit.Declare)
	making, made := context.WithCancel(ctx)
	deliveries, err := maker.Consume(making, 1)
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Minute, "the queues to be there", func() bool { connected, _ := maker.Health(); return connected })
	made()
	for range deliveries {
	}
	if err := maker.Close(); err != nil {
		t.Fatal(err)
	}

	urls := map[string]string{}
	for _, p := range roles.Permissions(exchange, queue) {
		user := testenv.NewRabbitMQUser(t, admin)
		user.SetPermissions(p.Configure, p.Write, p.Read)
		urls[p.Role] = user.URL()
	}
	publisher, err := outboxrabbit.NewPublisher(outboxrabbit.PublisherConfig{
		URL: urls["relay"], Exchange: exchange, Producer: "test", Topology: outboxrabbit.Verify, Logger: silent,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	consuming := source(urls["consumer"], inboxrabbit.Verify)
	defer consuming.Close()
	got, err := consuming.Consume(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	msg := outbox.NewMessage("order.created", []byte(`{}`))
	if msg.ID, err = uuid.NewV7(); err != nil {
		t.Fatal(err)
	}
	msg.Type = "OrderCreated"
	testenv.Eventually(t, time.Minute, "the message to be published", func() bool {
		return publisher.Publish(ctx, []outbox.Message{msg})[0] == nil
	})
	for _, action := range []inbox.Action{inbox.ActionRetry, inbox.ActionDeadLetter} {
		select {
		case d := <-got:
			if err := consuming.Settle(ctx, []inbox.Settlement{{Delivery: d, Action: action, Err: errors.New("test")}})[0]; err != nil {
				t.Fatalf("%v: %v", action, err)
			}
		case <-ctx.Done():
			_, err := consuming.Health()
			t.Fatalf("no delivery for %v: %v", action, err)
		}
	}

	try := func(role string, do func(*amqp.Channel) error) error {
		conn, err := amqp.Dial(urls[role])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		return do(ch)
	}
	get := func(from string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error { _, _, err := ch.Get(from, false); return err }
	}
	publish := func(to string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			if err := ch.Confirm(false); err != nil {
				return err
			}
			confirm, err := ch.PublishWithDeferredConfirm(to, queue, false, false, amqp.Publishing{})
			if err != nil {
				return err
			}
			select {
			case <-confirm.Done():
				return nil
			case err := <-closed:
				return err
			}
		}
	}
	if err := try("operator", get(queue+".dlq")); err != nil {
		t.Errorf("the operator reads dead letters: %v", err)
	}
	for _, c := range []struct {
		role, about string
		do          func(*amqp.Channel) error
	}{
		{"relay", "consume", get(queue)}, {"relay", "publish past the exchange", publish("")},
		{"relay", "delete the exchange", func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) }},
		{"consumer", "publish events", publish(exchange)}, {"consumer", "read dead letters", get(queue + ".dlq")},
		{"consumer", "delete its queue", func(ch *amqp.Channel) error { _, err := ch.QueueDelete(queue, false, false, false); return err }},
		{"operator", "purge", func(ch *amqp.Channel) error { return ch.ExchangeDelete(exchange, false, false) }},
		{"readonly", "consume", get(queue)}, {"readonly", "publish", publish(exchange)},
	} {
		refusal, ok := errors.AsType[*amqp.Error](try(c.role, c.do))
		if !ok || refusal.Code != amqp.AccessRefused {
			t.Errorf("%s may %s: %v", c.role, c.about, refusal)
		}
	}
}
