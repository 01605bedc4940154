package devbroker_test

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// patience is how long a test waits for what must happen; quietly, how long for what must not.
const (
	patience = time.Minute
	quietly  = 100 * time.Millisecond
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDataDir); dir != "" {
		runChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// onBrokers runs a test against the dev broker and against RabbitMQ: both must pass.
func onBrokers(t *testing.T, test func(s *session)) {
	t.Parallel()
	t.Run("devbroker", func(t *testing.T) {
		t.Parallel()
		test(newSession(t, devbroker.NewTest(t).URL()))
	})
	t.Run("RabbitMQ", func(t *testing.T) {
		t.Parallel()
		test(connect(t, testenv.RabbitMQ(t), true))
	})
}

// session is a connection with a channel, and helpers that fail the test on errors.
type session struct {
	*testing.T
	url  string
	real bool // RabbitMQ
	conn *amqp.Connection
	ch   *amqp.Channel
}

func newSession(t *testing.T, url string) *session { return connect(t, url, false) }

func connect(t *testing.T, url string, real bool) *session {
	t.Helper()
	s := &session{T: t, url: url, real: real}
	s.conn = s.dial(amqp.Config{})
	s.ch = s.channel()
	return s
}

// other returns a session of its own with the same broker.
func (s *session) other() *session { return connect(s.T, s.url, s.real) }

func (s *session) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *session) dial(cfg amqp.Config) *amqp.Connection {
	s.Helper()
	conn, err := amqp.DialConfig(s.url, cfg)
	s.must(err)
	s.Cleanup(func() { _ = conn.CloseDeadline(time.Now().Add(patience)) })
	return conn
}

func (s *session) channel() *amqp.Channel {
	s.Helper()
	ch, err := s.conn.Channel()
	s.must(err)
	return ch
}

var names atomic.Int64

// name returns a name that no other test or run uses.
func (s *session) name() string {
	test, _, _ := strings.Cut(s.Name(), "/")
	return fmt.Sprintf("devbroker.%s.%d.%d", test, os.Getpid(), names.Add(1))
}

// queue declares a durable queue, which is deleted when the test is over.
func (s *session) queue(args amqp.Table) string {
	s.Helper()
	return s.queueNamed(s.name(), args)
}

func (s *session) queueNamed(name string, args amqp.Table) string {
	s.Helper()
	_, err := s.ch.QueueDeclare(name, true, false, false, false, args)
	s.must(err)
	s.afterwards(func(ch *amqp.Channel) { _, _ = ch.QueueDelete(name, false, false, false) })
	return name
}

// exchange declares a durable exchange, which is deleted when the test is over.
func (s *session) exchange(kind string, args amqp.Table) string {
	s.Helper()
	name := s.name()
	s.must(s.ch.ExchangeDeclare(name, kind, true, false, false, false, args))
	s.afterwards(func(ch *amqp.Channel) { _ = ch.ExchangeDelete(name, false, false) })
	return name
}

// afterwards deletes on a RabbitMQ that is used by other tests too.
func (s *session) afterwards(tidy func(*amqp.Channel)) {
	if !s.real {
		return
	}
	s.Cleanup(func() {
		conn, err := amqp.Dial(s.url)
		if err != nil {
			return
		}
		defer conn.Close()
		if ch, err := conn.Channel(); err == nil {
			tidy(ch)
		}
	})
}

func (s *session) bind(queue, key, exchange string, args amqp.Table) {
	s.Helper()
	s.must(s.ch.QueueBind(queue, key, exchange, false, args))
}

func persistent(body string) amqp.Publishing {
	return amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(body)}
}

func (s *session) publish(exchange, key string, p amqp.Publishing) {
	s.Helper()
	s.must(s.ch.PublishWithContext(s.Context(), exchange, key, false, false, p))
}

// send publishes persistent messages to a queue.
func (s *session) send(queue string, bodies ...string) {
	s.Helper()
	for _, body := range bodies {
		s.publish("", queue, persistent(body))
	}
}

// confirmed publishes a message and reports whether it was confirmed. The channel must be in confirm mode.
func (s *session) confirmed(exchange, key string, p amqp.Publishing) bool {
	s.Helper()
	d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), exchange, key, false, false, p)
	s.must(err)
	select {
	case <-d.Done():
	case <-time.After(patience):
		s.Fatal("no confirm")
	}
	return d.Acked()
}

// consume subscribes on a channel of its own, with the given prefetch.
func (s *session) consume(queue string, prefetch int) <-chan amqp.Delivery {
	s.Helper()
	ch := s.channel()
	s.must(ch.Qos(prefetch, 0, false))
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	s.must(err)
	return deliveries
}

func (s *session) next(deliveries <-chan amqp.Delivery) amqp.Delivery {
	s.Helper()
	select {
	case d, ok := <-deliveries:
		if !ok {
			s.Fatal("the consumer has ended")
		}
		return d
	case <-time.After(patience):
		s.Fatal("no delivery")
		return amqp.Delivery{}
	}
}

// nextBody fails the test unless the next delivery has this body.
func (s *session) nextBody(deliveries <-chan amqp.Delivery, body string) amqp.Delivery {
	s.Helper()
	d := s.next(deliveries)
	if string(d.Body) != body {
		s.Fatalf("delivered %q, want %q", d.Body, body)
	}
	return d
}

func (s *session) nothing(deliveries <-chan amqp.Delivery) {
	s.Helper()
	select {
	case d, ok := <-deliveries:
		s.Fatalf("delivered %q (open %v), want nothing", d.Body, ok)
	case <-time.After(quietly):
	}
}

// get takes a message from a queue as soon as there is one, and acknowledges it.
func (s *session) get(queue string) (d amqp.Delivery) {
	s.Helper()
	s.eventually("a message in "+queue, func() bool {
		var ok bool
		var err error
		d, ok, err = s.ch.Get(queue, true)
		s.must(err)
		return ok
	})
	return d
}

// bodies takes everything there is in a queue.
func (s *session) bodies(queue string) []string {
	s.Helper()
	all := []string{}
	for {
		d, ok, err := s.ch.Get(queue, true)
		s.must(err)
		if !ok {
			return all
		}
		all = append(all, string(d.Body))
	}
}

// ready returns how many messages wait in a queue.
func (s *session) ready(queue string) int {
	s.Helper()
	q, err := s.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	s.must(err)
	return q.Messages
}

func (s *session) eventuallyReady(queue string, n int) {
	s.Helper()
	s.eventually(fmt.Sprintf("%d messages in %s", n, queue), func() bool { return s.ready(queue) == n })
}

// letPass waits until the broker's clock has moved on: a message of that lifetime has expired.
func (s *session) letPass(milliseconds int32) {
	s.Helper()
	done := s.queue(nil)
	clock := s.queue(amqp.Table{
		"x-message-ttl": milliseconds, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": done,
	})
	s.send(clock, "time is up")
	s.next(s.consume(done, 1))
}

func (s *session) eventually(what string, condition func() bool) {
	s.Helper()
	eventually(s.T, what, condition)
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		if condition() {
			return
		}
		if <-tick.C; time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// await receives from a channel within patience.
func await[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("unreachable")
	}
}
