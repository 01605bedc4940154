package rabbitmq_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

// moveBack puts the first dead letter into the queue again, as the broker's
// shovel does, or an operator.
func (r *rig) moveBack(from string) {
	r.t.Helper()
	d := r.get(from)
	r.publishTo("", r.names.Queue, d.MessageId, func(p *amqp.Publishing) {
		*p = amqp.Publishing{Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
			DeliveryMode: d.DeliveryMode, CorrelationId: d.CorrelationId,
			MessageId: d.MessageId, Timestamp: d.Timestamp, Type: d.Type, AppId: d.AppId, Body: d.Body}
		p.Headers["x-shovelled"] = []any{amqp.Table{"shovelled-by": "operator"}}
	})
}

// A message that was moved back has all of its attempts again, each time, and
// keeps its topic and where it was first published.
func TestSourceRestartsHistoryOfMovedMessages(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) {
			c.QueueType = queueType
			c.Topics = []string{"order.created"}
		})
		deliveries := r.consume(10)
		r.publish("e1")
		for life := range 3 {
			for failures := range 3 {
				d := r.receiveID(deliveries, "e1")
				if d.Failures != failures || d.Message.Attempt != failures+1 || d.Message.Topic != "order.created" {
					t.Fatalf("life %d: failures %d, attempt %d, topic %q; want %d failures", life, d.Failures, d.Message.Attempt, d.Message.Topic, failures)
				}
				if failures < 2 {
					r.settle(retry(d, 0, fmt.Errorf("failure %d", failures)))
				} else {
					r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler, Err: errors.New("the last")})
				}
			}
			if life < 2 {
				r.moveBack(r.names.DeadLetters)
			}
		}
		letter := r.get(r.names.DeadLetters)
		if letter.Headers["pulse-attempts"] != int64(3) || letter.Headers["pulse-first-error"] != "failure 0" || letter.Headers["pulse-exchange"] != r.cfg.Exchange {
			t.Errorf("dead letter %v", letter.Headers)
		}
		// Out of a retry queue, before its time.
		r.publish("e2")
		r.settle(retry(r.receiveID(deliveries, "e2"), time.Hour, nil))
		r.moveBack(r.names.Retry[1].Queue)
		if d := r.receiveID(deliveries, "e2"); d.Failures != 0 {
			t.Errorf("moved out of a retry queue: failures %d", d.Failures)
		}
	})
}

// A letter of the broker's own, which has no header for the topic, has its topic
// again when it was moved back, also after retries and requeues. Deaths in other
// queues say nothing.
func TestSourceTopicOfMovedMessages(t *testing.T) {
	t.Parallel()
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) { c.QueueType = queueType })
		death := func(queue string) amqp.Table {
			return amqp.Table{"x-death": []any{amqp.Table{"queue": queue, "reason": "delivery_limit", "count": int64(1),
				"exchange": r.cfg.Exchange, "routing-keys": []any{"order.created"}}}}
		}
		deliveries := r.consume(10)
		r.tryPublish("", r.names.Queue, "elsewhere", death("billing"))
		d := r.receiveID(deliveries, "elsewhere")
		if d.Message.Topic != r.names.Queue {
			t.Errorf("a death in another queue: topic %q", d.Message.Topic)
		}
		r.ack(d)
		r.tryPublish("", r.names.Queue, "here", death(r.names.Queue))
		for _, settled := range []func(inbox.Delivery) inbox.Settlement{
			func(d inbox.Delivery) inbox.Settlement {
				return inbox.Settlement{Delivery: d, Action: inbox.ActionRequeue}
			},
			func(d inbox.Delivery) inbox.Settlement { return retry(d, 0, errors.New("first")) },
			func(d inbox.Delivery) inbox.Settlement { return inbox.Settlement{Delivery: d, Action: inbox.ActionAck} },
		} {
			d := r.receiveID(deliveries, "here")
			if d.Message.Topic != "order.created" {
				t.Errorf("topic %q", d.Message.Topic)
			}
			r.settle(settled(d))
		}
	})
}

// What a producer writes about attempts is ignored.
func TestSourceIgnoresForeignAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	elsewhere := []any{amqp.Table{"queue": "billing.retry.5s", "reason": "expired", "count": int64(4)}}
	for i, headers := range []amqp.Table{
		{"pulse-attempts": int64(-7)},
		{"pulse-attempts": int64(9)},
		{"pulse-attempts": int64(math.MaxInt64)},
		{"pulse-attempts": "many"},
		{"pulse-attempts": int64(9), "x-death": elsewhere},
		{"pulse-attempts": int64(9), "x-death": "dead"},
		{"pulse-attempts": int64(9), "x-death": []any{"dead"}},
		{"pulse-attempts": int64(9), "pulse-returned": "billing"},
	} {
		id := fmt.Sprint(i)
		r.publish(id, func(p *amqp.Publishing) {
			for name, value := range headers {
				p.Headers[name] = value
			}
		})
		d := r.receiveID(deliveries, id)
		if d.Failures != 0 || d.Message.Attempt != 1 {
			t.Errorf("%v: failures %d", headers, d.Failures)
		}
		r.settle(retry(d, 0, errors.New("first")))
		if d = r.receiveID(deliveries, id); d.Failures != 1 {
			t.Errorf("%v: failures %d after the first", headers, d.Failures)
		}
		r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler, Err: errors.New("second")})
		if letter := r.get(r.names.DeadLetters); letter.Headers["pulse-attempts"] != int64(2) || letter.Headers["pulse-first-error"] != "first" {
			t.Errorf("%v: dead letter %v", headers, letter.Headers)
		}
	}
}

// After RetryDelays were changed, messages in the former retry queues still come
// back with their count.
func TestSourceAcceptsFormerRetryQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	r.settle(retry(r.receiveID(deliveries, "e1"), 0, nil))
	d := r.receiveID(deliveries, "e1")
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	other := r.again(func(c *rabbitmq.SourceConfig) { c.RetryDelays = []time.Duration{time.Hour} })
	if d = other.receiveID(other.consume(10), "e1"); d.Failures != 1 {
		t.Errorf("failures %d, want 1", d.Failures)
	}
}
