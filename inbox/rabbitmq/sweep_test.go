package rabbitmq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// onSweepBrokers runs a test on quorum queues of both brokers, with n letters in a
// dead-letter queue that deletes what comes back twice, and on classic ones.
func onSweepBrokers(t *testing.T, n int, test func(*testing.T, *rig)) {
	t.Parallel()
	for _, broker := range browseBrokers {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			r := limitedLetters(t, broker, 1, n)
			r.declareMain()
			test(t, r)
		})
	}
	t.Run("classic", func(t *testing.T) {
		t.Parallel()
		r := newRigAt(t, devbroker.NewTest(t).URL(), func(c *rabbitmq.SourceConfig) { c.QueueType = rabbitmq.Classic })
		if _, err := r.plain.QueueDeclare(r.names.DeadLetters, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		r.fillLetters(n, 100)
		r.declareMain()
		test(t, r)
	})
}

// declareMain declares the consumer's queue, for a test without a consumer.
func (r *rig) declareMain() {
	r.t.Helper()
	if _, err := r.plain.QueueDeclare(r.cfg.Queue, true, false, false, false, amqp.Table{"x-queue-type": r.cfg.QueueType.String()}); err != nil {
		r.t.Fatal(err)
	}
}

// takeIDs empties a queue of n messages and returns the last parts of their ids.
func (r *rig) takeIDs(queue string, n int) (ids []string) {
	r.t.Helper()
	r.awaitDepth(queue, n)
	for range n {
		ids = append(ids, r.get(queue).MessageId)
	}
	return ids
}

func letterIDs(pick func(int) bool, n int) (ids []string) {
	for i := range n {
		if pick(i) {
			ids = append(ids, letterID(i))
		}
	}
	return ids
}

// Some letters move, some are dropped, the others stay, all in their order, however
// often the queue is swept.
func TestSweep(t *testing.T) {
	const n = 700 // more than a window
	onSweepBrokers(t, n, func(t *testing.T, r *rig) {
		i := r.inspect()
		fate := func(d rabbitmq.DeadLetter) rabbitmq.Fate {
			var number int
			if _, err := fmt.Sscanf(d.ID, "event-%d", &number); err != nil {
				t.Errorf("letter %q: %v", d.ID, err)
			}
			return rabbitmq.Fate(number % 3)
		}
		committed, moved, dropped, seen := 0, 0, 0, 0
		err := i.Sweep(t.Context(), rabbitmq.Sweep{
			Decide: func(d rabbitmq.DeadLetter) (rabbitmq.Fate, error) { seen++; return fate(d), nil },
			Commit: func() error { committed++; return nil },
			Done: func(d rabbitmq.DeadLetter, f rabbitmq.Fate, err error) {
				switch {
				case err != nil || f != fate(d):
					t.Errorf("letter %s: fate %d, %v", d.ID, f, err)
				case f == rabbitmq.Move:
					moved++
				case dropped >= 0 && committed > 0:
					dropped++
				}
			},
		})
		if err != nil || seen != n || moved != 233 || dropped != 233 {
			t.Fatalf("seen %d, moved %d, dropped %d, %v", seen, moved, dropped, err)
		}
		for range 3 { // nothing is deleted by the limit
			if err := i.Sweep(t.Context(), rabbitmq.Sweep{Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Keep, nil }}); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.takeIDs(r.names.DeadLetters, 234); !slices.Equal(got, letterIDs(func(i int) bool { return i%3 == 0 }, n)) {
			t.Errorf("left: %v", got)
		}
		if got := r.takeIDs(r.cfg.Queue, 233); !slices.Equal(got, letterIDs(func(i int) bool { return i%3 == 1 }, n)) {
			t.Errorf("moved: %v", got)
		}
	})
}

// A letter that moves keeps what its producer gave it; its attempts start afresh,
// and what happened before is remembered, through its next death as well.
func TestSweepStartsAfresh(t *testing.T) {
	t.Parallel()
	for _, broker := range browseBrokers {
		t.Run(broker, func(t *testing.T) {
			t.Parallel()
			url := func() string { return devbroker.NewTest(t).URL() }
			if broker == "RabbitMQ" {
				url = func() string { return testenv.RabbitMQ(t) }
			}
			r := newRigAt(t, url())
			in := r.consume(1)
			r.fillLetters(1, 100)
			i := r.inspect()
			err := i.Sweep(t.Context(), rabbitmq.Sweep{Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Move, nil }})
			if err != nil {
				t.Fatal(err)
			}
			d := r.receive(in)
			if d.Failures != 0 || d.Message.Attempt != 1 || d.Message.ID != letterID(0) || d.Message.Topic != "order.created" ||
				d.Message.CorrelationID != "c1" || d.Message.Type != "OrderCreated" || len(d.Message.Payload) != 100 || d.Redelivered {
				t.Errorf("%+v", d)
			}
			r.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: "again", Err: errors.New("still full")})
			r.awaitDepth(r.names.DeadLetters, 1)
			var letter rabbitmq.DeadLetter
			if err := i.DeadLetters(t.Context(), func(d rabbitmq.DeadLetter) error { letter = d; return nil }); err != nil {
				t.Fatal(err)
			}
			if letter.Attempts != 1 || letter.Reason != "again" || letter.FirstError != "still full" || letter.Requeues != 1 || len(letter.Earlier) != 1 ||
				letter.Raw.Priority != 3 || letter.Raw.ReplyTo != "answers" || letter.Raw.Headers["nested"] == nil {
				t.Fatalf("%+v", letter)
			}
			if e := letter.Earlier[0]; e.Attempts != 10 || e.Reason != "handler" || e.Error != "mail server is full" || e.Consumer != "notifications" ||
				time.Since(e.RequeuedAt) > time.Hour {
				t.Errorf("%+v", e)
			}
		})
	}
}

// What is remembered of earlier times is bounded.
func TestSweepHistoryIsBounded(t *testing.T) {
	t.Parallel()
	r := newRigAt(t, devbroker.NewTest(t).URL())
	if _, err := r.plain.QueueDeclare(r.names.DeadLetters, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	r.fillLetters(1, 10)
	i := r.inspect()
	for range 9 { // in place, which no tool but a test does
		err := i.Sweep(t.Context(), rabbitmq.Sweep{Key: r.names.DeadLetters, Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Move, nil }})
		if err != nil {
			t.Fatal(err)
		}
	}
	err := i.DeadLetters(t.Context(), func(d rabbitmq.DeadLetter) error {
		if d.Requeues != 9 || len(d.Earlier) != 5 || d.Attempts != 0 || d.LastError != "" {
			t.Errorf("%+v", d)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A sweep that ends early, by itself, its caller or the connection, loses nothing and
// leaves what it has not looked at in its order.
func TestSweepEndsEarly(t *testing.T) {
	const n = 600
	onSweepBrokers(t, n, func(t *testing.T, r *rig) {
		i := r.inspect()
		seen := 0
		move := func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) {
			if seen == 10 {
				return rabbitmq.Keep, rabbitmq.ErrEnough
			}
			seen++
			return rabbitmq.Move, nil
		}
		if err := i.Sweep(t.Context(), rabbitmq.Sweep{Decide: move}); err != nil {
			t.Fatal(err)
		}
		seen = 0
		if err := i.Sweep(t.Context(), rabbitmq.Sweep{Limit: 5, Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Move, nil }}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err := i.Sweep(ctx, rabbitmq.Sweep{Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) {
			cancel()
			return rabbitmq.Move, nil
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%v", err)
		}
		broken := errors.New("disk is full")
		err = i.Sweep(t.Context(), rabbitmq.Sweep{
			Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Drop, nil },
			Commit: func() error { return broken },
		})
		if !errors.Is(err, broken) {
			t.Fatalf("%v", err)
		}
		r.awaitDepth(r.names.DeadLetters, n-15)
		got := append(r.takeIDs(r.cfg.Queue, 15), r.takeIDs(r.names.DeadLetters, n-15)...)
		slices.Sort(got)
		if !slices.Equal(got, letterIDs(func(int) bool { return true }, n)) {
			t.Errorf("%v", got)
		}
	})
}

// A destination that takes no letters ends the moving; all stay, in their order.
func TestSweepRefused(t *testing.T) {
	const n = 30
	onSweepBrokers(t, n, func(t *testing.T, r *rig) {
		if _, err := r.plain.QueueDeclare("full", true, false, false, false, amqp.Table{"x-max-length": int64(1), "x-overflow": "reject-publish"}); err != nil {
			t.Fatal(err)
		}
		for _, to := range []rabbitmq.Sweep{{Key: "nowhere"}, {Exchange: "amq.topic", Key: "nobody"}, {Exchange: "no.exchange", Key: "k"}, {Key: "full"}} {
			refused := 0
			to.Decide = func(d rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Move, nil }
			to.Batch = 5
			to.Done = func(_ rabbitmq.DeadLetter, _ rabbitmq.Fate, err error) {
				if err != nil {
					refused++
				}
			}
			err := r.inspect().Sweep(t.Context(), to)
			refusal, is := errors.AsType[*rabbitmq.RefusedError](err)
			if !is || refusal.Key != to.Key || refused == 0 || refused > 5 || !strings.Contains(err.Error(), to.Key) {
				t.Errorf("%+v: %v, %d refused", to, err, refused)
			}
		}
		full := r.depth("full")
		if full == 0 || full > 5 {
			t.Errorf("the full queue took %d", full)
		}
		r.awaitDepth(r.names.DeadLetters, n-full)
		got := r.takeIDs(r.names.DeadLetters, n-full)
		if !slices.IsSorted(got) {
			t.Errorf("%v", got)
		}
	})
}

// Letters that come while a queue is swept are for the next sweep, copies of those that failed
// again among them.
func TestSweepEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	if _, err := r.plain.QueueDeclare(r.names.DeadLetters, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	r.fillLetters(20, 10)
	seen := 0
	err := r.inspect().Sweep(t.Context(), rabbitmq.Sweep{Key: r.names.DeadLetters, Batch: 1, Window: 2, // each comes back at once
		Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { seen++; return rabbitmq.Move, nil }})
	if err != nil || seen != 20 {
		t.Errorf("seen %d, %v", seen, err)
	}
	r.awaitDepth(r.names.DeadLetters, 20)
}

// Of a key whose letter cannot be published none moves; others do.
func TestSweepKeepsTheOrderOfAKey(t *testing.T) {
	t.Parallel()
	r := newRigAt(t, devbroker.NewTest(t).URL())
	r.declareMain()
	if _, err := r.plain.QueueDeclare(r.names.DeadLetters, true, false, false, false, amqp.Table{"x-queue-type": "quorum"}); err != nil {
		t.Fatal(err)
	}
	huge := strings.Repeat("h", 130_960) // its headers leave no room for more
	for n, key := range []string{"a", "b", "a", "b", "a", ""} {
		headers := amqp.Table{"pulse-key": key}
		if n == 1 {
			headers["huge"] = huge
		}
		if err := r.plain.PublishWithContext(t.Context(), "", r.names.DeadLetters, false, false, amqp.Publishing{MessageId: fmt.Sprint(n), Headers: headers}); err != nil {
			t.Fatal(err)
		}
	}
	r.awaitDepth(r.names.DeadLetters, 6)
	var refused []string
	err := r.inspect().Sweep(t.Context(), rabbitmq.Sweep{
		Decide: func(rabbitmq.DeadLetter) (rabbitmq.Fate, error) { return rabbitmq.Move, nil },
		Done: func(d rabbitmq.DeadLetter, _ rabbitmq.Fate, err error) {
			if err != nil {
				refused = append(refused, d.ID)
			}
		},
	})
	if err != nil || !slices.Equal(refused, []string{"1"}) {
		t.Errorf("%v, refused %v", err, refused)
	}
	if got := r.takeIDs(r.names.DeadLetters, 2); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("left %v", got)
	}
	if got := r.takeIDs(r.cfg.Queue, 4); len(got) != 4 {
		t.Errorf("moved %v", got)
	} else if a := slices.DeleteFunc(got, func(id string) bool { return id == "5" }); !slices.Equal(a, []string{"0", "2", "4"}) {
		t.Errorf("moved %v", got)
	}
}
