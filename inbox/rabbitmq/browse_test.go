package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// limitedLetters returns a rig whose dead-letter queue holds n messages, and
// deletes what comes back more often than limit.
func limitedLetters(t *testing.T, broker string, limit, n int) *rig {
	t.Helper()
	var r *rig
	args := amqp.Table{"x-queue-type": "quorum", "x-overflow": "reject-publish"}
	switch broker {
	case "devbroker": // which knows no policies
		r = newRigAt(t, devbroker.NewTest(t).URL())
		args["x-delivery-limit"] = int64(limit)
	default:
		r = newRig(t)
		testenv.SetPolicy(t, r.url, ".*", map[string]any{"delivery-limit": limit})
	}
	if _, err := r.plain.QueueDeclare(r.names.DeadLetters, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	r.fillLetters(n, 100)
	return r
}

// fillLetters publishes n dead letters with bodies of a size.
func (r *rig) fillLetters(n, size int) {
	r.t.Helper()
	body := strings.Repeat("y", size)
	var pending []*amqp.DeferredConfirmation
	for i := range n {
		confirm, err := r.plain.PublishWithDeferredConfirm("", r.names.DeadLetters, false, false, amqp.Publishing{
			MessageId: letterID(i), Type: "OrderCreated", ContentType: "application/json", ContentEncoding: "identity", DeliveryMode: amqp.Persistent,
			CorrelationId: "c1", AppId: "orders", Priority: 3, ReplyTo: "answers", Timestamp: time.Unix(1_700_000_000, 0), Body: []byte(body),
			Headers: amqp.Table{"pulse-topic": "order.created", "pulse-reason": "handler", "pulse-last-error": "mail server is full",
				"pulse-attempts": int64(10), "pulse-consumer": "notifications", "nested": amqp.Table{"list": []any{int64(1), "two"}}},
		})
		if err != nil {
			r.t.Fatal(err)
		}
		pending = append(pending, confirm)
	}
	for _, confirm := range pending {
		if !confirm.Wait() {
			r.t.Fatal("a dead letter was refused")
		}
	}
	r.awaitDepth(r.names.DeadLetters, n)
}

func letterID(i int) string { return fmt.Sprintf("event-%06d", i) }

func (r *rig) inspect() *rabbitmq.Inspector {
	r.t.Helper()
	i, err := rabbitmq.OpenInspector(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(i.Close)
	return i
}

// takeLetters empties the dead-letter queue and fails unless it holds n
// messages, in their order and unchanged.
func (r *rig) takeLetters(n int) {
	r.t.Helper()
	r.awaitDepth(r.names.DeadLetters, n)
	for i := range n {
		d := r.get(r.names.DeadLetters)
		delete(d.Headers, "x-delivery-count")
		delete(d.Headers, "x-acquired-count")
		if d.MessageId != letterID(i) || d.Type != "OrderCreated" || d.ContentType != "application/json" || d.ContentEncoding != "identity" ||
			d.DeliveryMode != amqp.Persistent || d.CorrelationId != "c1" || d.AppId != "orders" || d.Priority != 3 || d.ReplyTo != "answers" ||
			!d.Timestamp.Equal(time.Unix(1_700_000_000, 0)) || len(d.Headers) != 6 || d.Headers["pulse-attempts"] != int64(10) ||
			!reflect.DeepEqual(d.Headers["nested"], amqp.Table{"list": []any{int64(1), "two"}}) {
			r.t.Fatalf("dead letter %d is %+v", i, d)
		}
	}
}

var browseBrokers = []string{"RabbitMQ", "devbroker"}

func TestInspectorDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, broker := range browseBrokers {
		for _, limit := range []int{1, 2, 20} {
			t.Run(fmt.Sprint(broker, " limit ", limit), func(t *testing.T) {
				t.Parallel()
				const n = 150
				r := limitedLetters(t, broker, limit, n)
				i := r.inspect()
				for round := range limit + 3 {
					var ids []string
					err := i.DeadLetters(t.Context(), func(d rabbitmq.DeadLetter) error {
						if d.Reason != "handler" || d.Attempts != 10 || d.Consumer != "notifications" || d.Topic != "order.created" ||
							d.LastError != "mail server is full" || len(d.Body) != 100 {
							t.Errorf("dead letter %+v", d)
						}
						ids = append(ids, d.ID)
						return nil
					})
					if err != nil || len(ids) != n || ids[0] != letterID(0) || ids[n-1] != letterID(n-1) {
						t.Fatalf("round %d: %d dead letters, %v: %v ... %v", round, len(ids), err, ids[:5], ids[len(ids)-5:])
					}
					r.awaitDepth(r.names.DeadLetters, n)
				}
				r.takeLetters(n)
			})
		}
	}
}

// Browsing may end at any moment, by its caller or by a lost connection.
func TestInspectorInterruptedDeletesNothing(t *testing.T) {
	t.Parallel()
	for _, broker := range browseBrokers {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			const n = 150
			r := limitedLetters(t, broker, 1, n)
			enough := errors.New("enough")
			for round := range 6 {
				i := r.inspect()
				ctx, cancel := context.WithCancel(t.Context())
				seen := 0
				err := i.DeadLetters(ctx, func(rabbitmq.DeadLetter) error {
					if seen++; seen > 20*round {
						if round%2 == 0 {
							cancel()
						} else {
							return enough
						}
					}
					return nil
				})
				cancel()
				if !errors.Is(err, enough) && !errors.Is(err, context.Canceled) {
					t.Errorf("round %d: %v", round, err)
				}
				i.Close()
				// Copies that were not known to be confirmed may be there twice.
				testenv.Eventually(t, patience, "the dead letters to be back", func() bool { return r.depth(r.names.DeadLetters) >= n })
			}
			ids, err := r.inspect().DeadLetterIDs(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			left := make(map[string]bool)
			for _, id := range ids {
				left[id] = true
			}
			if len(left) != n {
				t.Errorf("%d of %d dead letters are left", len(left), n)
			}
		})
	}
}

func TestInspectorLongQueue(t *testing.T) {
	t.Parallel()
	for _, queueType := range []rabbitmq.QueueType{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(queueType.String(), func(t *testing.T) {
			t.Parallel()
			const n = 5000
			r := newRig(t, func(c *rabbitmq.SourceConfig) { c.QueueType = queueType })
			if _, err := r.plain.QueueDeclare(r.names.DeadLetters, true, false, false, false, amqp.Table{"x-queue-type": queueType.String()}); err != nil {
				t.Fatal(err)
			}
			r.fillLetters(n, 2000)
			i := r.inspect()
			for round := range 3 { // held, replaced, held again
				seen := 0
				if err := i.DeadLetters(t.Context(), func(d rabbitmq.DeadLetter) error {
					if d.ID != letterID(seen) {
						return fmt.Errorf("%s came as number %d", d.ID, seen)
					}
					seen++
					return nil
				}); err != nil || seen != n {
					t.Fatalf("round %d: %d messages, %v", round, seen, err)
				}
				r.awaitDepth(r.names.DeadLetters, n)
			}
			if ids, err := i.DeadLetterIDs(t.Context(), 7); err != nil || len(ids) != 7 || ids[6] != letterID(6) {
				t.Errorf("the first seven: %v, %v", ids, err)
			}
			r.awaitDepth(r.names.DeadLetters, n)
		})
	}
}

// Messages that another consumer holds cannot be seen, and two inspectors at once
// would each see a part.
func TestInspectorReportsIncomplete(t *testing.T) {
	t.Parallel()
	r := limitedLetters(t, "RabbitMQ", math.MaxInt32, 20)
	i := r.inspect()
	taken := sync.OnceFunc(func() { r.get(r.names.DeadLetters) })
	err := i.DeadLetters(t.Context(), func(rabbitmq.DeadLetter) error { taken(); return nil })
	var incomplete *rabbitmq.IncompleteError
	if !errors.As(err, &incomplete) || incomplete.There != 20 || incomplete.Saw != 19 {
		t.Errorf("one message was taken meanwhile: %v", err)
	}
	r.awaitDepth(r.names.DeadLetters, 19)

	other, inside, done := r.inspect(), make(chan struct{}), make(chan error)
	go func() {
		seen := 0
		done <- i.DeadLetters(t.Context(), func(rabbitmq.DeadLetter) error {
			if seen++; seen == 2 { // by now it is subscribed
				inside <- struct{}{}
				<-inside
			}
			return nil
		})
	}()
	<-inside
	if _, err := other.DeadLetterIDs(t.Context(), 0); !errors.Is(err, rabbitmq.ErrInUse) && err != nil || err == nil && r.depth(r.names.DeadLetters) > 0 {
		t.Errorf("two at once: %v", err)
	}
	inside <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("the first of two: %v", err)
	}
	if _, err := r.plain.Consume(r.names.DeadLetters, "", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := other.DeadLetterIDs(t.Context(), 0); !errors.Is(err, rabbitmq.ErrInUse) && r.depth(r.names.DeadLetters) > 0 {
		t.Errorf("beside a consumer: %v", err)
	}
}
