package rabbitmq_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// soon has a source ask a queue that is quiet for a moment.
func soon(r *rig) { rabbitmq.SetQuietLimit(r.source, 20*time.Millisecond, patience) }

// A queue that has no majority delivers nothing and says nothing. Health tells so
// while it lasts, and names the queue.
func TestSourceNoticesQueueWithoutMajority(t *testing.T) {
	t.Parallel()
	broker := devbroker.NewTest(t)
	r := newRigAt(t, broker.URL())
	soon(r)
	deliveries := r.consume(10)
	r.publish("e1")
	r.ack(r.receiveID(deliveries, "e1"))
	if err := broker.Inject(devbroker.Fault{Kind: devbroker.FaultStallQueues, Queue: r.names.Queue}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, "health to say so", func() bool {
		connected, err := r.source.Health()
		return !connected && err != nil && strings.Contains(err.Error(), "the queue does not answer") && strings.Contains(err.Error(), r.names.Queue)
	})
	handler := inbox.HealthHandler(inbox.HealthConfig{
		Consumer: func() inbox.Health { return inbox.Health{State: inbox.Running} }, Source: r.source.Health,
	})
	testenv.Eventually(t, patience, "health to say so over HTTP, without the name", func() bool { // it subscribes in between
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health/ready", nil))
		body := answer.Body.String()
		return strings.Contains(body, `"state":"degraded"`) && strings.Contains(body, "the queue does not answer") && !strings.Contains(body, r.names.Queue)
	})
	if err := broker.Clear(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, patience, "health to be good", func() bool { connected, err := r.source.Health(); return connected && err == nil })
	r.publish("e2")
	r.ack(r.receiveID(deliveries, "e2"))
}

// A queue that is quiet, and well, is asked without anything being delivered twice,
// late or out of order.
func TestSourceAsksQuietQueue(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]func(*testing.T) string{
		"RabbitMQ":  func(t *testing.T) string { return testenv.RabbitMQ(t) },
		"devbroker": func(t *testing.T) string { return devbroker.NewTest(t).URL() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRigAt(t, url(t))
			rabbitmq.SetQuietLimit(r.source, time.Microsecond, patience)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			deliveries := r.consumeUntil(ctx, 3)
			for round := range 50 {
				for i := range round % 6 {
					r.publish(fmt.Sprint(round, ".", i))
				}
				for i := range round % 6 {
					d := r.receiveID(deliveries, fmt.Sprint(round, ".", i))
					if d.Redelivered {
						t.Errorf("%s was delivered before", d.Message.ID)
					}
					r.ack(d)
				}
			}
			if connected, err := r.source.Health(); !connected || err != nil {
				t.Errorf("health %t, %v", connected, err)
			}
			r.end(cancel)
			r.publish("left")
			r.awaitDepth(r.names.Queue, 1)
		})
	}
}

// A queue that turns out to have a single active consumer refuses to be asked, and is
// consumed all the same.
func TestSourceDoesNotAskWhereRefused(t *testing.T) {
	t.Parallel()
	r := newRigAt(t, testenv.RabbitMQ(t), func(c *rabbitmq.SourceConfig) { c.Topology = rabbitmq.None })
	soon(r)
	if err := r.plain.ExchangeDeclare(r.cfg.Exchange, "topic", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	args := amqp.Table{"x-queue-type": "quorum", "x-single-active-consumer": true}
	if _, err := r.plain.QueueDeclare(r.names.Queue, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	if err := r.plain.QueueBind(r.names.Queue, r.names.Queue, r.cfg.Exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	deliveries := r.consume(10)
	testenv.Eventually(t, patience, "the refusal", func() bool { return rabbitmq.Unaskable(r.source) })
	testenv.Eventually(t, patience, "another subscription", func() bool { connected, err := r.source.Health(); return connected && err == nil })
	r.publish("e1")
	r.ack(r.receiveID(deliveries, "e1"))
}
