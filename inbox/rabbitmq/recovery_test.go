package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/rabbit/rabbittest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestSourceRedeclaresDeletedQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	for round := range 2 {
		if _, err := r.plain.QueueDelete(r.names.Queue, false, false, false); err != nil {
			t.Fatal(err)
		}
		testenv.Eventually(t, patience, "the queue to be back", func() bool {
			q, err := r.channel(r.conn).QueueDeclarePassive(r.names.Queue, true, false, false, false, nil)
			return err == nil && q.Consumers == 1
		})
		id := fmt.Sprint("round ", round)
		r.publish(id)
		r.ack(r.receiveID(deliveries, id))
	}
}

// After the loss of the channel the broker counts tags from 1 again: settling
// an old delivery must not touch the new one that has its tag.
func TestSettleStaleDeliveries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	r.publish("e2")
	stale := r.receiveID(deliveries, "e1")
	r.receiveID(deliveries, "e2")
	if err := rabbitmq.BreakChannel(stale); err != nil {
		t.Fatal(err)
	}
	again := r.receiveID(deliveries, "e1")
	if !again.Redelivered {
		t.Error("not marked as redelivered")
	}
	for _, action := range []inbox.Action{inbox.ActionDeadLetter, inbox.ActionRetry, inbox.ActionAck, inbox.ActionRequeue} {
		if err := r.source.Settle(t.Context(), []inbox.Settlement{{Delivery: stale, Action: action}})[0]; !errors.Is(err, inbox.ErrStale) {
			t.Errorf("action %d: %v", action, err)
		}
	}
	r.ack(r.receiveID(deliveries, "e2"))
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	if left := r.get(r.names.Queue).MessageId; left != "e1" {
		t.Errorf("left in the queue: %s", left)
	}
	if n := r.depth(r.names.DeadLetters); n != 0 {
		t.Errorf("%d dead letters of a stale delivery", n)
	}
}

func TestSourceRedeliversAfterKill(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	r.consumeUntil(ctx, 1) // sets the queues up
	r.end(cancel)
	ids, kill := startChild(t, r.cfg.URL, r.names.Queue)
	r.publish("e1")
	if !ids.Scan() || ids.Text() != "e1" {
		t.Fatalf("the child got %q, %v", ids.Text(), ids.Err())
	}
	kill()
	d := r.receiveID(r.consume(10), "e1")
	if !d.Redelivered || d.Failures != 0 {
		t.Errorf("redelivered %t, failures %d", d.Redelivered, d.Failures)
	}
	r.ack(d)
}

func TestSourceSurvivesBrokerRestart(t *testing.T) {
	t.Parallel()
	server := testenv.RabbitMQServer(t)
	server.Stop()
	cfg := rabbitmq.SourceConfig{URL: server.URL(), Queue: "order.created", RetryDelays: []time.Duration{time.Hour}}
	source, err := rabbitmq.NewSource(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() }) // never fails
	deliveries := make(chan (<-chan inbox.Delivery), 1)
	refused := make(chan error, 1)
	go func() {
		from, err := source.Consume(t.Context(), 10)
		deliveries <- from
		refused <- err
	}()
	testenv.Eventually(t, patience, "health to say why", func() bool {
		connected, err := source.Health()
		return !connected && err != nil && strings.Contains(err.Error(), "connection refused")
	})
	server.Start()
	from := <-deliveries
	if err := <-refused; err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, url: cfg.URL, cfg: cfg, names: source.Names(), source: source}
	r.cfg.Exchange = "pulse.events"

	for _, interrupt := range []func(){server.Stop, server.Kill} {
		r.dial()
		r.publish("e1")
		r.publish("e2")
		held, retried := r.receiveID(from, "e1"), r.receiveID(from, "e2")
		r.settle(retry(retried, 0, nil))
		interrupt()
		for _, s := range []inbox.Settlement{{Delivery: held, Action: inbox.ActionAck}, retry(held, 0, nil)} {
			testenv.Eventually(t, patience, "the delivery to be stale", func() bool {
				return errors.Is(source.Settle(t.Context(), []inbox.Settlement{s})[0], inbox.ErrStale)
			})
		}
		server.Start()
		again := r.receiveID(from, "e1")
		if !again.Redelivered {
			t.Error("not marked as redelivered")
		}
		r.settle(inbox.Settlement{Delivery: again, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler}) // over a new connection
		r.dial()
		r.get(r.names.DeadLetters)
		r.get(r.names.Retry[0].Queue)
	}
}

func TestSourceWrongCredentials(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(testenv.RabbitMQ(t))
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword("nobody", "s3cret-word")
	source, err := rabbitmq.NewSource(rabbitmq.SourceConfig{URL: address.String(), Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		deliveries, err := source.Consume(ctx, 1)
		for range deliveries {
			err = errors.New("got a delivery")
		}
		ended <- err
	}()
	testenv.Eventually(t, patience, "health to say so", func() bool {
		_, err := source.Health()
		if err != nil && strings.Contains(err.Error(), "s3cret-word") {
			t.Fatalf("the password shows: %v", err)
		}
		return errors.Is(err, rabbit.ErrAccess)
	})
	select {
	case err := <-ended:
		t.Fatalf("gave up: %v", err)
	default:
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("at the end of the context: %v", err)
	}
	if err := source.Close(); err != nil {
		t.Error(err)
	}
}

// A broker that is short of memory stops taking messages; what was handled
// must still be acknowledged.
func TestSourceAcksWhileBlocked(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	proxy := rabbittest.NewProxy(t, url)
	r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
		c.URL = proxy.URL()
		c.ConfirmTimeout = 200 * time.Millisecond
	})
	deliveries := r.consume(2)
	for i := range 3 {
		r.publish(fmt.Sprint(i))
	}
	first, second := r.receiveID(deliveries, "0"), r.receiveID(deliveries, "1")
	proxy.Block("low on memory")
	outcomes := r.source.Settle(t.Context(), []inbox.Settlement{retry(first, time.Hour, nil), {Delivery: second, Action: inbox.ActionAck}})
	if outcomes[0] == nil || errors.Is(outcomes[0], inbox.ErrStale) || outcomes[1] != nil {
		t.Errorf("while blocked: %v", outcomes)
	}
	third := r.receiveID(deliveries, "2") // the acknowledgement has made room
	proxy.Restore()
	testenv.Eventually(t, patience, "a retry to succeed again", func() bool {
		return r.source.Settle(t.Context(), []inbox.Settlement{retry(first, time.Hour, nil)})[0] == nil
	})
	r.ack(third)
	testenv.Eventually(t, patience, "the message in its retry queue", func() bool { return r.depth(r.names.Retry[1].Queue) > 0 })
}

func TestSourceNoticesSilentConnection(t *testing.T) {
	t.Parallel()
	url := testenv.RabbitMQ(t)
	proxy := rabbittest.NewProxy(t, url)
	r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
		c.URL = proxy.URL()
		c.Heartbeat = time.Second
	})
	deliveries := r.consume(10)
	proxy.Silence()
	testenv.Eventually(t, patience, "the silence to be noticed", func() bool {
		connected, err := r.source.Health()
		return !connected && err != nil
	})
	proxy.Restore()
	r.publish("e1")
	r.ack(r.receiveID(deliveries, "e1"))
}
