package faults_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// startConsumer runs a handler of the test instead of the notifications
// service.
func (s *system) startConsumer(h inbox.Handler, cfg inbox.ConsumerConfig) *inbox.Consumer {
	s.t.Helper()
	consumer, _ := s.runConsumer(h, cfg)
	return consumer
}

// runConsumer also returns the function that ends the consumer.
func (s *system) runConsumer(h inbox.Handler, cfg inbox.ConsumerConfig) (consumer *inbox.Consumer, stop func()) {
	s.t.Helper()
	in, err := inbox.New(s.notificationsDB, consumerName)
	if err != nil {
		s.t.Fatal(err)
	}
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{
		URL: s.amqpURL, Exchange: s.exchange, Queue: s.queue, Topics: []string{notifications.OrderCreatedTopic},
		RetryDelays: retryDelays, Consumer: consumerName, Logger: logger(s.t),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.Logger = logger(s.t)
	if consumer, err = inbox.NewConsumer(in, source, h, cfg); err != nil {
		s.t.Fatal(err)
	}
	running := s.background(func(ctx context.Context) error { return errors.Join(consumer.Run(ctx), source.Close()) })
	testenv.Eventually(s.t, patience, "the consumer to run", func() bool { return consumer.Health().State == inbox.Running })
	return consumer, running.stop
}

// calls counts how often a handler was called for each message, and how often
// the backoff was called.
type calls struct {
	mu       sync.Mutex
	attempts map[string][]int // by event id
	waits    []int
}

func (c *calls) handled(msg inbox.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts[msg.ID] = append(c.attempts[msg.ID], msg.Attempt)
}

func (c *calls) backoff(failures int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits = append(c.waits, failures)
	return retryDelays[0]
}

// F19: handlers that fail in every possible way, among messages without a
// fault.
func TestF19HandlerFailures(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	ways := map[string]string{} // customer by event id
	culprits := map[string]string{}
	for _, customer := range []string{"fails", "panics", "refuses", "fails-once"} {
		p := s.placeFor(1, customer)[0]
		ways[p.EventID], culprits[customer] = customer, p.EventID
	}
	s.place(20)

	seen := calls{attempts: map[string][]int{}}
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		seen.handled(msg)
		if err := notify(ctx, tx, msg); err != nil {
			return err
		}
		// The effect is written, but must be rolled back.
		switch way := ways[msg.ID]; {
		case way == "fails", way == "fails-once" && msg.Attempt == 1:
			return errors.New("the handler fails")
		case way == "panics":
			panic("the handler panics")
		case way == "refuses":
			return inbox.DeadLetterFor(errors.New("breaks the contract"), inbox.ReasonContract)
		}
		return nil
	}
	cfg := consumerConfig()
	cfg.Backoff, cfg.BatchSize = seen.backoff, 1
	consumer := s.startConsumer(handler, cfg)
	s.startOrders()
	s.awaitSettled()
	undecodable := s.publishRaw(amqp.Publishing{Body: []byte("no id, no JSON")})
	testenv.Eventually(t, patience, "four dead letters", func() bool { return consumer.Health().DeadLettered == 4 })

	letters := s.deadLetters()
	for customer, want := range map[string]struct {
		attempts      int64
		reason, error string
	}{
		"fails":   {3, "handler", "the handler fails"},
		"panics":  {3, "handler", "the handler panics"},
		"refuses": {1, "contract", "breaks the contract"},
	} {
		letter := letters[culprits[customer]]
		first, _ := letter.Headers["pulse-first-error"].(string)
		last, _ := letter.Headers["pulse-last-error"].(string)
		if letter.Headers["pulse-attempts"] != want.attempts || letter.Headers["pulse-reason"] != want.reason ||
			!strings.Contains(first, want.error) || !strings.Contains(last, want.error) || letter.Headers["pulse-consumer"] != consumerName {
			t.Errorf("the one that %s: dead letter %v; want %+v", customer, letter.Headers, want)
		}
		if got := len(seen.attempts[culprits[customer]]); got != int(want.attempts) {
			t.Errorf("the one that %s was handled %d times, want %d", customer, got, want.attempts)
		}
	}
	if letter := letters[""]; letter.Headers["pulse-reason"] != "undecodable" || string(letter.Body) != string(undecodable) {
		t.Errorf("what cannot be decoded: dead letter %v %s", letter.Headers, letter.Body)
	}
	if got := seen.attempts[culprits["fails-once"]]; !slices.Equal(got, []int{1, 2}) {
		t.Errorf("the one that fails once was handled as attempts %v, want 1 and 2", got)
	}
	if got := slices.Sorted(slices.Values(seen.waits)); !slices.Equal(got, []int{1, 1, 1, 2, 2}) {
		t.Errorf("the backoff was asked after failures %v, want 1 thrice and 2 twice", got)
	}
	s.requireClean(exceptions{aside: []string{culprits["fails"], culprits["panics"], culprits["refuses"]}})
}

// publishRaw publishes a message that the publisher would refuse.
func (s *system) publishRaw(p amqp.Publishing) (body []byte) {
	s.t.Helper()
	if err := s.channel().PublishWithContext(s.t.Context(), s.exchange, notifications.OrderCreatedTopic, true, false, p); err != nil {
		s.t.Fatal(err)
	}
	return p.Body
}

// G13: correlation id, causation id and trace context go with the event from
// the request through row, message, a failed attempt and the retry queue into
// the row that the handler writes; and with copies that are dead-lettered or
// replayed.
func TestG13TracePropagates(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	const traceID = "0af7651916cd43dd8448eb211c80319c"
	next, err := outbox.New(s.notificationsDB) // of the service that reacts
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := make(chan inbox.Message, 4)
	s.startConsumer(func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		seen <- msg
		if msg.Attempt == 1 {
			return errors.New("fails once")
		}
		if err := next.Enqueue(ctx, tx, outbox.NewMessage("customer.notified", nil)); err != nil {
			return err
		}
		return notify(ctx, tx, msg)
	}, consumerConfig())
	s.startOrders()

	order, err := s.order("customer-123", "x-correlation-id", "the-business-action",
		"traceparent", "00-"+traceID+"-b7ad6b7169203331-01", "tracestate", "vendor=1")
	if err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		msg := <-seen
		if msg.Attempt != attempt || msg.ID != order.EventID || msg.CorrelationID != "the-business-action" ||
			!strings.Contains(msg.Headers["traceparent"], traceID) || msg.Headers["tracestate"] != "vendor=1" {
			t.Errorf("attempt %d: %+v", attempt, msg)
		}
	}
	var reaction outbox.Record
	testenv.Eventually(t, patience, "the handler's own message", func() bool {
		page, err := next.List(t.Context(), outbox.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Records) == 0 {
			return false
		}
		reaction = page.Records[0]
		return true
	})
	if reaction.CorrelationID != "the-business-action" || reaction.CausationID != order.EventID ||
		!strings.Contains(reaction.Headers["traceparent"], traceID) || reaction.Headers["tracestate"] != "vendor=1" {
		t.Errorf("the handler's own message: %+v", reaction.Message)
	}

	forged := s.record(order.EventID).Message
	forged.Payload = []byte(`{}`)
	s.publish(forged) // becomes a dead letter
	testenv.Eventually(t, patience, "a dead letter", func() bool { return s.depths().DeadLettered == 1 })
	letter := s.deadLetters()[order.EventID]
	if parent, _ := letter.Headers["traceparent"].(string); letter.CorrelationId != "the-business-action" ||
		letter.Headers["x-correlation-id"] != "the-business-action" || !strings.Contains(parent, traceID) {
		t.Errorf("dead letter: %s, %v", letter.CorrelationId, letter.Headers)
	}
	s.requireClean(exceptions{conflicts: []string{order.EventID}})
}
