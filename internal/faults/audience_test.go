package faults_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// F84: a topic has an audience of two queues. Under load, the second is unbound, and
// later deleted, while the first is there: nothing counts as published that the
// second would have missed.
func TestF84AudienceQueueMissing(t *testing.T) {
	t.Parallel()
	broker, management := testenv.RabbitMQManaged(t)
	s := newSystem(t, broker)
	consumer := s.startNotifications()
	audit := s.newAudit()
	publisher, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: broker, Exchange: s.exchange, Producer: "orders", Logger: logger(t), ManagementURL: management,
		Audiences: map[string][]string{orders.CreatedTopic: {s.queue, audit.queue}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close()
	cfg := relayConfig()
	var log logText
	cfg.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), &log), nil))
	relay, err := outbox.NewRelay(s.outbox, publisher, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.background(relay.Run).stop()
	api := httptest.NewServer(s.counter)
	defer api.Close()
	load := startLoad(t, api.URL, 2)
	for about, take := range map[string]func(*amqp.Channel) error{
		"unbound": func(ch *amqp.Channel) error { return ch.QueueUnbind(audit.queue, orders.CreatedTopic, s.exchange, nil) },
		"deleted": func(ch *amqp.Channel) error {
			audit.stop()
			testenv.Eventually(t, patience, "the queue to be empty", func() bool {
				audit.takeAll()
				_, err := ch.QueueDelete(audit.queue, false, true, false)
				if err != nil { // which closes the channel
					ch, _ = audit.conn.Channel()
				}
				return err == nil
			})
			return nil
		},
	} {
		load.await(20)
		s.awaitCount(load.count()/2, s.notificationsDB, "notifications")
		ch, err := audit.conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		if err := take(ch); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, patience, "the relay to say that the queue is "+about, func() bool {
			suspended := relay.Health().Suspended
			return len(suspended) == 1 && suspended[0].Topic == orders.CreatedTopic && strings.Contains(suspended[0].Reason, audit.queue) &&
				strings.Contains(suspended[0].Reason, "declare binding")
		})
		load.await(20) // orders are accepted
		audit.begin()
	}
	load.await(20)
	s.requireUnhurt(load.end(), consumer)
	if text := log.line("topic suspended"); !strings.Contains(text, audit.queue) || strings.Contains(text, "confirms none") {
		t.Errorf("the log says: %s", text)
	}
	audit.stop()
	audit.takeAll()
	for event := range s.readReconciliation().events {
		if !audit.got[event] {
			t.Errorf("the second queue has missed %s", event)
		}
	}
}

// logText is a log that can be read.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// line returns the first line with what.
func (l *logText) line(what string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, what) {
			return line
		}
	}
	return ""
}

// audit is a consumer without an inbox, which remembers what it has got.
type audit struct {
	s       *system
	queue   string
	conn    *amqp.Connection
	channel *amqp.Channel
	mu      sync.Mutex
	got     map[string]bool
	reading sync.WaitGroup
}

func (s *system) newAudit() *audit {
	s.t.Helper()
	conn, err := amqp.Dial(s.amqpURL)
	if err != nil {
		s.t.Fatal(err)
	}
	a := &audit{s: s, queue: testenv.UniqueName(s.t, "audit"), conn: conn, got: map[string]bool{}}
	s.t.Cleanup(func() {
		_ = conn.Close()
		a.reading.Wait()
	})
	a.begin()
	return a
}

// begin declares the queue, binds it, and consumes it, again if it did before.
func (a *audit) begin() {
	a.s.t.Helper()
	a.stop()
	ch, err := a.conn.Channel()
	if err != nil {
		a.s.t.Fatal(err)
	}
	_, err = ch.QueueDeclare(a.queue, true, false, false, false, nil)
	err = errors.Join(err, ch.QueueBind(a.queue, orders.CreatedTopic, a.s.exchange, false, nil))
	deliveries, consumeErr := ch.ConsumeWithContext(context.Background(), a.queue, "", false, false, false, false, nil)
	if err := errors.Join(err, consumeErr); err != nil {
		a.s.t.Fatal(err)
	}
	a.channel = ch
	a.reading.Go(func() {
		for d := range deliveries {
			a.note(d)
		}
	})
}

func (a *audit) note(d amqp.Delivery) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got[d.MessageId] = true
	_ = d.Ack(false) // else it comes again
}

func (a *audit) stop() {
	if a.channel != nil {
		_ = a.channel.Close()
		a.reading.Wait()
		a.channel = nil
	}
}

// takeAll gets what the queue holds, if it is there.
func (a *audit) takeAll() {
	ch, err := a.conn.Channel()
	if err != nil {
		a.s.t.Fatal(err)
	}
	defer ch.Close()
	for {
		d, ok, err := ch.Get(a.queue, false)
		if err != nil || !ok {
			return
		}
		a.note(d)
	}
}
