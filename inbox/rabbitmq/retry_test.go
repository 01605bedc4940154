package rabbitmq_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
)

func retry(d inbox.Delivery, delay time.Duration, err error) inbox.Settlement {
	return inbox.Settlement{Delivery: d, Action: inbox.ActionRetry, Delay: delay, Reason: inbox.ReasonHandler, Err: err}
}

func TestSourceRetryKeepsHistory(t *testing.T) {
	t.Parallel()
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(queueType.String(), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *rabbitmq.SourceConfig) {
				c.QueueType = queueType
				c.Topics = []string{"order.created"}
			})
			deliveries := r.consume(10)
			r.publish("e1", func(p *amqp.Publishing) {
				delete(p.Headers, "pulse-topic") // as a producer that knows nothing of us
				p.CorrelationId = "c1"
			})
			for attempt := 1; attempt <= 3; attempt++ {
				d := r.receiveID(deliveries, "e1")
				if d.Failures != attempt-1 || d.Message.Attempt != attempt {
					t.Fatalf("failures %d, attempt %d, want %d, %d", d.Failures, d.Message.Attempt, attempt-1, attempt)
				}
				if m := d.Message; m.Topic != "order.created" || m.CorrelationID != "c1" || string(m.Payload) != `{"id":"e1"}` || m.Headers["tenant"] != "acme" {
					t.Fatalf("attempt %d: message %+v", attempt, m)
				}
				// Not the message's fault: it comes again as it was.
				uncounted := retry(d, 0, errors.New("locked elsewhere"))
				uncounted.Uncounted = true
				r.settle(uncounted)
				if d = r.receiveID(deliveries, "e1"); d.Failures != attempt-1 {
					t.Fatalf("failures %d, want %d", d.Failures, attempt-1)
				}
				r.settle(retry(d, 0, fmt.Errorf("failure %d", attempt)))
			}
			d := r.receiveID(deliveries, "e1")
			r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonContract, Err: errors.New("failure 4")})
			letter := r.get(r.names.DeadLetters)
			for name, want := range map[string]any{
				"pulse-attempts": int64(4), "pulse-reason": "contract", "pulse-first-error": "failure 1", "pulse-last-error": "failure 4",
				"pulse-consumer": "notifications", "pulse-exchange": r.cfg.Exchange, "pulse-topic": "order.created", "tenant": "acme",
			} {
				if got := letter.Headers[name]; got != want {
					t.Errorf("header %s = %v, want %v", name, got, want)
				}
			}
			first, err1 := time.Parse(time.RFC3339Nano, letter.Headers["pulse-first-failed-at"].(string))
			last, err2 := time.Parse(time.RFC3339Nano, letter.Headers["pulse-last-failed-at"].(string))
			if err := errors.Join(err1, err2); err != nil || !first.Before(last) {
				t.Errorf("failed first at %v, last at %v; %v", first, last, err)
			}
			if letter.MessageId != "e1" || letter.Type != "OrderCreated" || letter.CorrelationId != "c1" || letter.AppId != "orders" ||
				letter.ContentType != "application/json" || !letter.Timestamp.Equal(time.Unix(1_700_000_000, 0)) || letter.DeliveryMode != amqp.Persistent {
				t.Errorf("properties %+v", letter)
			}
			if _, kept := letter.Headers["x-death"]; kept {
				t.Errorf("headers of the broker were kept: %v", letter.Headers)
			}
		})
	}
}

func TestSourceRoundsDelaysUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) {
		c.RetryDelays = []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour}
	})
	deliveries := r.consume(10)
	for i, delay := range []time.Duration{-1, 0, time.Hour, time.Hour + 1, 2 * time.Hour, 24 * time.Hour} {
		r.publish(fmt.Sprint(i))
		r.settle(retry(r.receiveID(deliveries, fmt.Sprint(i)), delay, nil))
	}
	for i, want := range []int{3, 2, 1} {
		r.awaitDepth(r.names.Retry[i].Queue, want)
	}
	r.awaitDepth(r.names.Queue, 0)
}

func TestSettleMixedBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(200)
	var settlements []inbox.Settlement
	for i := range 100 {
		r.publish(fmt.Sprint(i))
		d := r.receiveID(deliveries, fmt.Sprint(i))
		s := inbox.Settlement{Delivery: d, Action: []inbox.Action{inbox.ActionAck, inbox.ActionRetry, inbox.ActionDeadLetter}[i%3], Delay: time.Hour, Reason: inbox.ReasonHandler}
		settlements = append(settlements, s)
	}
	r.settle(settlements...)
	r.awaitDepth(r.names.Retry[1].Queue, 33)
	r.awaitDepth(r.names.DeadLetters, 33)
	for i := 2; i < 100; i += 3 {
		if got := r.get(r.names.DeadLetters).MessageId; got != fmt.Sprint(i) {
			t.Fatalf("dead letters out of order: got %s, want %d", got, i)
		}
	}
	if err := r.source.Close(); err != nil {
		t.Fatal(err)
	}
	if left := r.depth(r.names.Queue); left != 0 {
		t.Errorf("%d messages were left unsettled", left)
	}
}

// Properties that would lose, delay or multiply the copy are left out.
func TestSourceCopiesLeaveOutHarmfulProperties(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	uri, err := amqp.ParseURI(r.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.plain.QueueDeclare("audit", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	r.publish("e1", func(p *amqp.Publishing) {
		p.Expiration = "3600000"
		p.UserId = uri.Username
		p.Headers["CC"] = []any{"audit"}
		p.Headers["x-death"] = []any{amqp.Table{"queue": "elsewhere"}}
		p.Headers["nested"] = amqp.Table{"list": []any{int64(1), "two"}}
	})
	d := r.receiveID(deliveries, "e1")
	r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler})
	letter := r.get(r.names.DeadLetters)
	if letter.Expiration != "" || letter.UserId != "" || letter.Headers["CC"] != nil || letter.Headers["x-death"] != nil {
		t.Errorf("expiration %q, user %q, headers %v", letter.Expiration, letter.UserId, letter.Headers)
	}
	if nested, _ := letter.Headers["nested"].(amqp.Table); fmt.Sprint(nested["list"]) != "[1 two]" {
		t.Errorf("nested header became %v", letter.Headers["nested"])
	}
	if n := r.depth("audit"); n != 0 {
		t.Errorf("CC brought %d copies elsewhere", n)
	}
}

func TestSourceRestoresMissingQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1")
	r.publish("e2")
	first, second := r.receiveID(deliveries, "e1"), r.receiveID(deliveries, "e2")
	for _, queue := range []string{r.names.Retry[1].Queue, r.names.DeadLetters} {
		if _, err := r.plain.QueueDelete(queue, false, false, false); err != nil {
			t.Fatal(err)
		}
	}
	r.settle(retry(first, time.Hour, nil), inbox.Settlement{Delivery: second, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler})
	r.awaitDepth(r.names.Retry[1].Queue, 1)
	r.awaitDepth(r.names.DeadLetters, 1)
}

// A queue that takes nothing answers with a nack.
func TestSettleLeavesRefusedUnacknowledged(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) {
		c.Topology = rabbitmq.None
		c.QueueType = rabbitmq.Classic
	})
	for queue, args := range map[string]amqp.Table{
		r.names.Queue:          nil,
		r.names.Retry[1].Queue: {"x-max-length": int64(0), "x-overflow": "reject-publish"},
	} {
		if _, err := r.plain.QueueDeclare(queue, true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	deliveries := r.consume(10)
	r.publishTo("", r.names.Queue, "e1")
	r.publishTo("", r.names.Queue, "e2")
	first, second := r.receiveID(deliveries, "e1"), r.receiveID(deliveries, "e2")
	outcomes := r.source.Settle(t.Context(), []inbox.Settlement{
		retry(first, time.Hour, nil), // refused
		{Delivery: second, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler}, // missing
	})
	for i, want := range []string{"nacked", "NO_ROUTE"} {
		if err := outcomes[i]; err == nil || errors.Is(err, inbox.ErrStale) || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "stays unacknowledged") {
			t.Errorf("outcome %d: %v, want mention of %s", i, err, want)
		}
	}
	r.settle(inbox.Settlement{Delivery: first, Action: inbox.ActionAck}, inbox.Settlement{Delivery: second, Action: inbox.ActionAck}) // still ours
}

func TestSourceShortensHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	r.publish("e1", func(p *amqp.Publishing) { p.Headers["long"] = strings.Repeat("x", 130_000) })
	d := r.receiveID(deliveries, "e1")
	r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler, Err: errors.New(strings.Repeat("e", 900))})
	letter := r.get(r.names.DeadLetters)
	if letter.Headers["pulse-attempts"] != int64(1) || len(letter.Headers["long"].(string)) != 130_000 || letter.Headers["pulse-last-error"] != nil {
		t.Errorf("attempts %v, last error %v", letter.Headers["pulse-attempts"], letter.Headers["pulse-last-error"])
	}
}
