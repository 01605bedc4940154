package rabbitmq_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// refuse makes queues refuse what is published to them, as full ones do.
func (r *rig) refuse(queues ...string) {
	r.t.Helper()
	var names []string
	for _, q := range queues {
		names = append(names, regexp.QuoteMeta(q))
	}
	testenv.SetPolicy(r.t, r.url, "^("+strings.Join(names, "|")+")$", map[string]any{"max-length": 0, "overflow": "reject-publish"})
	for _, q := range queues {
		testenv.Eventually(r.t, patience, q+" to be full", func() bool {
			confirm, err := r.plain.PublishWithDeferredConfirm("", q, false, false, amqp.Publishing{MessageId: "filler", DeliveryMode: amqp.Persistent})
			if err != nil {
				r.t.Fatal(err)
			}
			return !confirm.Wait()
		})
	}
}

// longDelays lets no retry fall due during a test.
func longDelays(c *rabbitmq.SourceConfig) {
	c.RetryDelays = []time.Duration{time.Hour, 2 * time.Hour, 3 * time.Hour}
}

// move asks for one settlement until it has an outcome other than a refusal,
// and returns that and the first refusal.
func (r *rig) move(s inbox.Settlement) (outcome, refusal error) {
	r.t.Helper()
	testenv.Eventually(r.t, patience, "the message to be moved", func() bool {
		outcome = r.source.Settle(r.t.Context(), []inbox.Settlement{s})[0]
		var diverted *inbox.DivertedError
		if outcome == nil || errors.As(outcome, &diverted) || errors.Is(outcome, inbox.ErrStale) {
			return true
		}
		if refusal == nil {
			refusal = outcome
		}
		return false
	})
	return outcome, refusal
}

func deadLetter(d inbox.Delivery, reason inbox.Reason) inbox.Settlement {
	return inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: reason, Err: errors.New("bad amount")}
}

func diverted(err error) inbox.Action {
	var d *inbox.DivertedError
	if errors.As(err, &d) {
		return d.Action
	}
	return -1
}

// A retry queue that is full sends its messages to another.
func TestSourceSkipsFullRetryQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, longDelays)
	deliveries := r.consume(10)
	r.refuse(r.names.Retry[1].Queue)
	for i, want := range []int{2, 2, 0} { // the next longer one, else the next shorter
		id := fmt.Sprint(i)
		r.publish(id)
		delay := r.names.Retry[1].Delay
		if i == 2 {
			r.refuse(r.names.Retry[2].Queue)
		}
		r.settle(retry(r.receiveID(deliveries, id), delay, errors.New("later")))
		if d := r.get(r.names.Retry[want].Queue); d.MessageId != id || d.Headers["pulse-attempts"] != int64(1) {
			t.Errorf("in %s: %s with %v", r.names.Retry[want].Queue, d.MessageId, d.Headers)
		}
	}
	if connected, err := r.source.Health(); !connected || err != nil {
		t.Errorf("health %t, %v", connected, err)
	}
}

// What all of its queues refuse is held for a while and reported, and then goes
// where there is room; until then it does not count as moved.
func TestSourceDivertsRefusedMessages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		settle  func(inbox.Delivery) inbox.Settlement
		full    func(n rabbitmq.Names) []string
		into    func(n rabbitmq.Names) string
		becomes inbox.Action
	}{
		{"retry, all retry queues full",
			func(d inbox.Delivery) inbox.Settlement { return retry(d, time.Hour, errors.New("later")) },
			func(n rabbitmq.Names) []string { return []string{n.Retry[0].Queue, n.Retry[1].Queue, n.Retry[2].Queue} },
			func(n rabbitmq.Names) string { return n.DeadLetters }, inbox.ActionDeadLetter},
		{"dead letter, queue full",
			func(d inbox.Delivery) inbox.Settlement { return deadLetter(d, inbox.ReasonContract) },
			func(n rabbitmq.Names) []string { return []string{n.DeadLetters} },
			func(n rabbitmq.Names) string { return n.Retry[2].Queue }, inbox.ActionRetry},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, longDelays)
			deliveries := r.consume(2)
			r.refuse(test.full(r.names)...)
			r.publish("e1")
			d := r.receiveID(deliveries, "e1")
			first := r.source.Settle(t.Context(), []inbox.Settlement{test.settle(d)})[0]
			if first == nil || diverted(first) >= 0 || !strings.Contains(first.Error(), "stays unacknowledged") || !strings.Contains(first.Error(), "nacked") {
				t.Fatalf("at once: %v", first)
			}
			connected, err := r.source.Health()
			if !connected || err == nil || !strings.Contains(err.Error(), "messages cannot be moved to a retry or dead-letter queue: 1 hold their place") || !strings.Contains(err.Error(), test.full(r.names)[0]) {
				t.Errorf("health %t, %v", connected, err)
			}
			if n := r.depth(test.into(r.names)); n != 0 {
				t.Errorf("%d messages in %s already", n, test.into(r.names))
			}
			rabbitmq.SetPatience(r.source, 0)
			outcome, _ := r.move(test.settle(d))
			if diverted(outcome) != test.becomes || !strings.Contains(outcome.Error(), "nacked") {
				t.Errorf("later: %v, want it to become %v", outcome, test.becomes)
			}
			if moved := r.get(test.into(r.names)); moved.MessageId != "e1" || moved.Headers["pulse-attempts"] != int64(1) {
				t.Errorf("moved: %+v", moved)
			}
			if _, err := r.source.Health(); err != nil {
				t.Errorf("health afterwards: %v", err)
			}
			r.publish("e2")
			r.ack(r.receiveID(deliveries, "e2"))
		})
	}
}

// With every queue full a message goes to the end of its own, so that others are
// delivered, and keeps its count.
func TestSourceRequeuesWhenAllQueuesAreFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, longDelays)
	rabbitmq.SetPatience(r.source, 0)
	deliveries := r.consume(1)
	r.refuse(r.names.Retry[0].Queue, r.names.Retry[1].Queue, r.names.Retry[2].Queue, r.names.DeadLetters)
	r.publish("bad")
	r.publish("good")
	d := r.receiveID(deliveries, "bad")
	if outcome, refusal := r.move(deadLetter(d, inbox.ReasonHandler)); diverted(outcome) != inbox.ActionRetry || refusal == nil {
		t.Fatalf("%v after %v", outcome, refusal)
	}
	r.ack(r.receiveID(deliveries, "good")) // with a prefetch of one
	d = r.receiveID(deliveries, "bad")
	if d.Failures != 1 {
		t.Errorf("failures %d, want 1", d.Failures)
	}
	// What takes processes down must not run again because of a full queue.
	for range 3 {
		outcome := r.source.Settle(t.Context(), []inbox.Settlement{deadLetter(d, inbox.ReasonCrashLoop)})[0]
		if outcome == nil || diverted(outcome) >= 0 {
			t.Fatalf("a crash loop: %v", outcome)
		}
	}
	// Nor does a message that is not at fault become a dead letter.
	uncounted := retry(d, time.Hour, nil)
	uncounted.Uncounted = true
	if outcome, _ := r.move(uncounted); diverted(outcome) >= 0 {
		t.Errorf("uncounted: %v", outcome)
	}
	if d = r.receiveID(deliveries, "bad"); d.Failures != 1 {
		t.Errorf("failures %d, want 1", d.Failures)
	}
}

// Queues that are missing and cannot be set up are passed over like full ones.
func TestSourceSkipsMissingQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) { c.Topology = rabbitmq.None })
	for _, queue := range []string{r.names.Queue, r.names.Retry[1].Queue} {
		if _, err := r.plain.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	rabbitmq.SetPatience(r.source, 0)
	deliveries := r.consume(10)
	for _, id := range []string{"0", "1"} {
		r.publishTo("", r.names.Queue, id)
	}
	r.settle(retry(r.receiveID(deliveries, "0"), 0, nil)) // its own retry queue is missing
	outcome, refusal := r.move(deadLetter(r.receiveID(deliveries, "1"), inbox.ReasonHandler))
	if diverted(outcome) != inbox.ActionRetry || refusal == nil || !strings.Contains(refusal.Error(), "NO_ROUTE") {
		t.Errorf("no dead-letter queue: %v, then %v", refusal, outcome)
	}
	r.awaitDepth(r.names.Retry[1].Queue, 2)
}

// A queue without a majority takes messages and does not confirm. The others are
// served at their pace, and it is asked with one message at a time.
func TestSourceSilentQueueDelaysNoOther(t *testing.T) {
	t.Parallel()
	broker := devbroker.NewTest(t)
	r := newRigAt(t, broker.URL(), func(c *rabbitmq.SourceConfig) { c.ConfirmTimeout = 300 * time.Millisecond })
	deliveries := r.consume(100)
	silent := r.names.DeadLetters
	if err := broker.Inject(devbroker.Fault{Kind: devbroker.FaultStallQueues, Queue: silent}); err != nil {
		t.Fatal(err)
	}
	const n = 20
	var settlements []inbox.Settlement
	for i := range n {
		r.publish(fmt.Sprint(i))
		d := r.receiveID(deliveries, fmt.Sprint(i))
		if i%2 == 0 {
			settlements = append(settlements, deadLetter(d, inbox.ReasonHandler))
		} else {
			settlements = append(settlements, retry(d, time.Hour, nil))
		}
	}
	for i, err := range r.source.Settle(t.Context(), settlements) {
		if want := i%2 == 0; (err != nil) != want || err != nil && !strings.Contains(err.Error(), "has not confirmed in time") {
			t.Errorf("settlement %d: %v", i, err)
		}
	}
	r.awaitDepth(r.names.Retry[1].Queue, n/2)
	if err := broker.Clear(devbroker.FaultStallQueues); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 2 {
		if outcome, _ := r.move(settlements[i]); outcome != nil {
			t.Errorf("settlement %d: %v", i, outcome)
		}
	}
	if _, err := r.source.Health(); err != nil {
		t.Errorf("health afterwards: %v", err)
	}
}

// Headers share one frame with what the broker adds to them, and a consumer
// that gets more than a frame loses its connection. Whatever the producer's
// headers take, the message comes again or is a dead letter, and can be read.
func TestSourceLeavesRoomForBrokerHeaders(t *testing.T) {
	t.Parallel()
	const frame, step = 131072, 97
	eachBroker(t, func(t *testing.T, url string, queueType rabbitmq.QueueType) {
		r := newRigAt(t, url, func(c *rabbitmq.SourceConfig) { c.QueueType = queueType })
		deliveries := r.consume(1)
		retried, dead := 0, 0
		for size := frame - 2200; size < frame-250; size += step {
			id := fmt.Sprint(size)
			r.publish(id, func(p *amqp.Publishing) {
				p.Headers["long"] = strings.Repeat("x", size)
				p.Headers["short"] = "kept"
			})
			d := r.receiveID(deliveries, id)
			outcome, _ := r.move(retry(d, 0, errors.New(strings.Repeat("e", 900))))
			if outcome == nil {
				if d = r.receiveID(deliveries, id); d.Failures != 1 || len(d.Message.Headers["long"]) != size {
					t.Fatalf("%s came again with %d failures", id, d.Failures)
				}
				retried++
				outcome, _ = r.move(deadLetter(d, inbox.ReasonHandler))
			}
			if outcome != nil && diverted(outcome) != inbox.ActionDeadLetter {
				t.Fatalf("%s: %v", id, outcome)
			}
			letter := r.get(r.names.DeadLetters)
			attempts, _ := letter.Headers["pulse-attempts"].(int64)
			if letter.MessageId != id || string(letter.Body) != `{"id":"`+id+`"}` || attempts < 1 || letter.Headers["short"] != "kept" || letter.Headers["pulse-reason"] != "handler" {
				t.Fatalf("dead letter of %s: %d headers, %v attempts", id, len(letter.Headers), attempts)
			}
			if text, _ := letter.Headers["long"].(string); len(text) != size && letter.Headers["pulse-dropped-headers"] != "long" {
				t.Errorf("%s: the long header has %d bytes, dropped: %v", id, len(text), letter.Headers["pulse-dropped-headers"])
			}
			if diverted(outcome) == inbox.ActionDeadLetter {
				dead++
			}
		}
		if retried == 0 || dead == 0 {
			t.Errorf("%d were retried, %d could not be: the sizes miss the mark", retried, dead)
		}
		if connected, err := r.source.Health(); !connected || err != nil {
			t.Errorf("health %t, %v", connected, err)
		}
	})
}

// eachBroker runs a test on RabbitMQ and the development broker, with both
// types of queues.
func eachBroker(t *testing.T, test func(t *testing.T, url string, queueType rabbitmq.QueueType)) {
	for _, broker := range []struct {
		name string
		url  func(*testing.T) string
	}{
		{"RabbitMQ", func(t *testing.T) string { return testenv.RabbitMQ(t) }},
		{"devbroker", func(t *testing.T) string { return devbroker.NewTest(t).URL() }},
	} {
		for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
			t.Run(broker.name+" "+queueType.String(), func(t *testing.T) {
				t.Parallel()
				test(t, broker.url(t), queueType)
			})
		}
	}
}

// A body above a limit that was lowered since cannot be published: the broker
// closes the channel because of it, which must not affect other messages. From a queue
// that was declared here the broker moves it by itself; elsewhere it stays.
func TestSourceBodyAboveBrokerLimit(t *testing.T) {
	t.Parallel()
	for _, declared := range []bool{true, false} {
		t.Run(fmt.Sprint("declared ", declared), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			limit := func(n int64) func(*devbroker.Config) {
				return func(c *devbroker.Config) { c.DataDir, c.MaxMessageSize = dir, n }
			}
			generous := devbroker.NewTest(t, limit(1<<20))
			r := newRigAt(t, generous.URL(), func(c *rabbitmq.SourceConfig) {
				if !declared {
					c.QueueType = rabbitmq.Classic
				}
			})
			r.consume(1) // sets the queues up
			for i := range 5 {
				r.publish(fmt.Sprint(i), func(p *amqp.Publishing) {
					if i == 2 {
						p.Body = make([]byte, 500_000)
					}
				})
			}
			if err := r.source.Close(); err != nil {
				t.Fatal(err)
			}
			if err := generous.Close(); err != nil {
				t.Fatal(err)
			}
			strict := devbroker.NewTest(t, limit(100_000))
			s := newRigAt(t, strict.URL(), func(c *rabbitmq.SourceConfig) {
				*c = r.cfg
				c.URL = strict.URL()
			})
			deliveries := s.consume(10)
			var settlements []inbox.Settlement
			for i := range 5 {
				settlements = append(settlements, deadLetter(s.receiveID(deliveries, fmt.Sprint(i)), inbox.ReasonContract))
			}
			for i, err := range s.source.Settle(t.Context(), settlements) {
				switch {
				case i != 2 && err != nil:
					t.Errorf("neighbour %d: %v", i, err)
				case i == 2 && declared && diverted(err) != inbox.ActionDeadLetter:
					t.Errorf("the large one: %v", err)
				case i == 2 && !declared && (err == nil || diverted(err) >= 0 || !strings.Contains(err.Error(), "cannot be published")):
					t.Errorf("the large one: %v", err)
				}
			}
			want := 4 // some of them twice, perhaps
			if declared {
				want = 5
			}
			came := make(map[string]bool)
			for len(came) < want {
				came[s.get(s.names.DeadLetters).MessageId] = true
			}
			if declared {
				return
			}
			if _, err := s.source.Health(); err == nil || !strings.Contains(err.Error(), "messages cannot be moved to a retry or dead-letter queue: 1 hold their place") {
				t.Errorf("health: %v", err)
			}
		})
	}
}
