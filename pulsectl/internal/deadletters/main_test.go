package deadletters_test

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
)

func TestMain(m *testing.M) {
	runChild()
	goleak.VerifyTestMain(m)
}

const patience = 60 * time.Second

// rig is a consumer's queue and its dead-letter queue, and a plain client.
type rig struct {
	t     *testing.T
	queue deadletters.Queue
	names inboxrabbit.Names
	plain *amqp.Channel
}

// onBrokers runs a test on both brokers.
func onBrokers(t *testing.T, test func(*testing.T, *rig)) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"RabbitMQ":  func(t *testing.T) string { return testenv.RabbitMQ(t) },
		"devbroker": func(t *testing.T) string { return devbroker.NewTest(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newRig(t, url(t)))
		})
	}
}

func newRig(t *testing.T, url string) *rig {
	t.Helper()
	cfg := inboxrabbit.SourceConfig{URL: url, Queue: testenv.UniqueName(t, "order.created"), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the server may be gone
	ch, err := conn.Channel()
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, queue: deadletters.Queue{Source: cfg}, names: inboxrabbit.QueueNames(cfg.Queue, nil), plain: ch}
	for _, name := range []string{r.names.Queue, r.names.DeadLetters} {
		r.declare(name, amqp.Table{"x-queue-type": "quorum", "x-overflow": "reject-publish"})
	}
	return r
}

func (r *rig) declare(name string, args amqp.Table) {
	r.t.Helper()
	if _, err := r.plain.QueueDeclare(name, true, false, false, false, args); err != nil {
		r.t.Fatal(err)
	}
}

// letter is the n-th dead letter as a consumer would have written it.
func letter(n int) amqp.Publishing {
	return amqp.Publishing{
		MessageId: fmt.Sprintf("event-%03d", n), Type: "OrderCreated", ContentType: "application/json", DeliveryMode: amqp.Persistent,
		CorrelationId: "c1", AppId: "orders", Timestamp: time.Unix(1_700_000_000, 0), Body: fmt.Appendf(nil, `{"order":%d}`, n),
		Headers: amqp.Table{
			"pulse-topic": "order.created", "pulse-key": fmt.Sprint("key-", n%3), "pulse-seq": int64(n), "pulse-reason": "handler",
			"pulse-first-error": "first", "pulse-last-error": fmt.Sprintf("mail server refused order %d", n), "pulse-attempts": int64(n%5 + 1),
			"pulse-first-failed-at": "2026-01-01T00:00:00Z",
			"pulse-last-failed-at":  time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC).Format(time.RFC3339Nano),
			"pulse-consumer":        "notifications", "pulse-exchange": "pulse.events", "tenant": "acme",
		},
	}
}

// put publishes messages to a queue and waits until they are there.
func (r *rig) put(queue string, all ...amqp.Publishing) {
	r.t.Helper()
	before := r.depth(queue)
	var confirms []*amqp.DeferredConfirmation
	for _, p := range all {
		confirm, err := r.plain.PublishWithDeferredConfirm("", queue, true, false, p)
		if err != nil {
			r.t.Fatal(err)
		}
		confirms = append(confirms, confirm)
	}
	for _, confirm := range confirms {
		if ok, err := confirm.WaitContext(r.t.Context()); err != nil || !ok {
			r.t.Fatalf("%v, %v", ok, err)
		}
	}
	r.awaitDepth(queue, before+len(all))
}

// fill puts n letters into the dead-letter queue.
func (r *rig) fill(n int) {
	r.t.Helper()
	all := make([]amqp.Publishing, n)
	for i := range all {
		all[i] = letter(i)
	}
	r.put(r.names.DeadLetters, all...)
}

func (r *rig) depth(queue string) int {
	r.t.Helper()
	q, err := r.plain.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return q.Messages
}

func (r *rig) awaitDepth(queue string, want int) {
	r.t.Helper()
	depth := -1
	defer func() {
		if depth != want {
			r.t.Logf("%s has %d messages", queue, depth)
		}
	}()
	testenv.Eventually(r.t, patience, fmt.Sprintf("the depth of %s to be %d", queue, want), func() bool {
		depth = r.depth(queue)
		return depth == want
	})
}

// take empties a queue and returns its n messages.
func (r *rig) take(queue string, n int) (all []amqp.Delivery) {
	r.t.Helper()
	r.awaitDepth(queue, n)
	in, err := r.plain.Consume(queue, "taker", true, false, false, false, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for len(all) < n {
		select {
		case d := <-in:
			all = append(all, d)
		case <-late.C:
			r.t.Fatalf("got %d of %d messages from %s", len(all), n, queue)
		}
	}
	if err := r.plain.Cancel("taker", false); err != nil {
		r.t.Fatal(err)
	}
	return all
}

func ids(all []amqp.Delivery) (ids []string) {
	for _, d := range all {
		ids = append(ids, d.MessageId)
	}
	return ids
}
