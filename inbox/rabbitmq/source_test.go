package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

func TestSourceDeliversTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) { c.Topics = []string{"order.created", "order.#.late"} })
	deliveries := r.consume(10)
	r.publishTo(r.cfg.Exchange, "order.paid", "not for us")
	r.publishTo(r.cfg.Exchange, "order.paid.late", "e1")
	d := r.receiveID(deliveries, "e1")
	if d.Err != nil || d.Failures != 0 || d.Redelivered || d.Message.Attempt != 1 {
		t.Errorf("err %v, failures %d, redelivered %t, attempt %d", d.Err, d.Failures, d.Redelivered, d.Message.Attempt)
	}
	m := d.Message
	if m.Topic != "order.paid.late" || m.Type != "OrderCreated" || m.Producer != "orders" ||
		string(m.Payload) != `{"id":"e1"}` || m.Headers["tenant"] != "acme" || !m.OccurredAt.Equal(time.Unix(1_700_000_000, 0)) {
		t.Errorf("message %+v", m)
	}
	r.ack(d)
	if connected, err := r.source.Health(); !connected || err != nil {
		t.Errorf("health %t, %v", connected, err)
	}
}

func TestSourceDeliversUndecodable(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("", func(p *amqp.Publishing) { p.CorrelationId = "c1" })
	r.publish("e1", func(p *amqp.Publishing) { p.Headers["pulse-occurred-at"] = "yesterday" })

	d := r.receive(deliveries)
	if d.Err == nil || d.Message.ID != "" || d.Message.CorrelationID != "c1" || string(d.Message.Payload) != `{"id":""}` {
		t.Errorf("without an id: err %v, message %+v", d.Err, d.Message)
	}
	r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonUndecodable, Err: d.Err})
	letter := r.get(r.names.DeadLetters)
	if letter.Headers["pulse-reason"] != "undecodable" || letter.CorrelationId != "c1" || string(letter.Body) != `{"id":""}` {
		t.Errorf("dead letter %+v", letter)
	}
	d = r.receive(deliveries)
	if d.Err == nil || d.Message.ID != "e1" || d.Message.Topic != r.names.Queue {
		t.Errorf("bad header: err %v, message %+v", d.Err, d.Message)
	}
	r.ack(d)
}

func TestSourcePrefetch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(2)
	for i := range 4 {
		r.publish(fmt.Sprint(i))
	}
	first, second := r.receiveID(deliveries, "0"), r.receiveID(deliveries, "1")
	r.awaitDepth(r.names.Queue, 2) // the broker holds the others back
	r.ack(second)
	third := r.receiveID(deliveries, "2")
	r.awaitDepth(r.names.Queue, 1)
	r.settle(inbox.Settlement{Delivery: first, Action: inbox.ActionAck}, inbox.Settlement{Delivery: third, Action: inbox.ActionAck})
	r.ack(r.receiveID(deliveries, "3"))
}

// What is left in the queue after settling in disorder shows whether an
// acknowledgement took along a neighbour.
func TestSourceAcksOnlySettled(t *testing.T) {
	t.Parallel()
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(queueType.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *rabbitmq.SourceConfig) { c.QueueType = queueType })
			deliveries := r.consume(100)
			var all []inbox.Delivery
			for i := range 10 {
				r.publish(fmt.Sprint(i))
				all = append(all, r.receiveID(deliveries, fmt.Sprint(i)))
			}
			batch := func(indexes ...int) {
				var settlements []inbox.Settlement
				for _, i := range indexes {
					settlements = append(settlements, inbox.Settlement{Delivery: all[i], Action: inbox.ActionAck})
				}
				r.settle(settlements...)
			}
			batch(4)
			batch(2, 0, 1, 6)
			batch(3)
			if err := r.source.Close(); err != nil {
				t.Fatal(err)
			}
			var left []string
			for range 4 {
				left = append(left, r.get(r.names.Queue).MessageId)
			}
			if slices.Sort(left); !slices.Equal(left, []string{"5", "7", "8", "9"}) || r.depth(r.names.Queue) != 0 {
				t.Errorf("left: %v and %d more", left, r.depth(r.names.Queue))
			}
		})
	}
}

func TestSourceRequeuesUnchanged(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	r.settle(inbox.Settlement{Delivery: r.receiveID(deliveries, "e1"), Action: inbox.ActionRequeue})
	d := r.receiveID(deliveries, "e1")
	if !d.Redelivered || d.Failures != 0 || d.Message.Attempt != 1 {
		t.Errorf("redelivered %t, failures %d, attempt %d", d.Redelivered, d.Failures, d.Message.Attempt)
	}
	r.ack(d)
}

func TestConsumeEndRequeuesAndSettles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	deliveries := r.consumeUntil(ctx, 10)
	for i := range 5 {
		r.publish(fmt.Sprint(i))
	}
	taken := r.receiveID(deliveries, "0")
	r.awaitDepth(r.names.Queue, 0) // the others are with the source
	cancel()
	for d := range deliveries { // at most the one that was on offer
		r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue})
	}
	r.awaitDepth(r.names.Queue, 4)
	r.settle(inbox.Settlement{Delivery: taken, Action: inbox.ActionRetry, Delay: time.Hour, Reason: inbox.ReasonHandler, Err: errors.New("late")})
	r.awaitDepth(r.names.Retry[1].Queue, 1)
	r.end(cancel)
	again := r.consume(10) // another subscription
	var ids []string
	for range 4 {
		d := r.receive(again)
		ids = append(ids, d.Message.ID)
		r.ack(d)
	}
	if slices.Sort(ids); !slices.Equal(ids, []string{"1", "2", "3", "4"}) {
		t.Errorf("requeued: %v", ids)
	}
}

func TestSettleOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	r.publish("e2")
	first, second := r.receiveID(deliveries, "e1"), r.receiveID(deliveries, "e2")
	outcomes := r.source.Settle(t.Context(), []inbox.Settlement{
		{Delivery: first, Action: inbox.ActionAck},
		{Delivery: first, Action: inbox.ActionRequeue},
		{Delivery: second, Action: 17},
		{Delivery: inbox.Delivery{}, Action: inbox.ActionAck},
	})
	if outcomes[0] != nil || !errors.Is(outcomes[1], inbox.ErrStale) || outcomes[2] == nil || outcomes[3] == nil {
		t.Errorf("outcomes %v", outcomes)
	}
	r.ack(second)
	if err := r.source.Settle(t.Context(), []inbox.Settlement{{Delivery: second, Action: inbox.ActionAck}})[0]; !errors.Is(err, inbox.ErrStale) {
		t.Errorf("settled again: %v", err)
	}
	r.publish("e3") // the channel has survived
	r.ack(r.receiveID(deliveries, "e3"))
}

func TestSourceCloseMakesDeliveriesStale(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	d := r.receiveID(deliveries, "e1")
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	if _, open := <-deliveries; open {
		t.Error("still delivering")
	}
	for _, action := range []inbox.Action{inbox.ActionAck, inbox.ActionRetry, inbox.ActionDeadLetter, inbox.ActionRequeue} {
		if err := r.source.Settle(t.Context(), []inbox.Settlement{{Delivery: d, Action: action}})[0]; !errors.Is(err, inbox.ErrStale) {
			t.Errorf("action %d: %v", action, err)
		}
	}
	if _, err := r.source.Consume(t.Context(), 1); !errors.Is(err, rabbitmq.ErrClosed) {
		t.Errorf("consume: %v", err)
	}
	r.awaitDepth(r.names.Queue, 1)
}

// Not parallel: it counts goroutines.
func TestSourceCloseLeavesNothingRunning(t *testing.T) {
	r := newRig(t)
	before := goleak.IgnoreCurrent()
	deliveries := r.consume(10)
	r.publish("e1")
	r.publish("e2")
	r.settle(retry(r.receiveID(deliveries, "e1"), time.Hour, nil)) // over a connection of its own
	r.receiveID(deliveries, "e2")
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}
