package rabbitmq_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

func TestInspectorLeavesMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	inspector, err := rabbitmq.OpenInspector(t.Context(), r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	depths, err := inspector.Depths(t.Context())
	if err != nil || len(depths.Missing) != 4 || depths.Ready+depths.Retrying+depths.DeadLettered != 0 {
		t.Errorf("before the queues exist: %+v, %v", depths, err)
	}
	if ids, err := inspector.DeadLetterIDs(t.Context(), 0); err != nil || len(ids) != 0 {
		t.Errorf("before the queues exist: %v, %v", ids, err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	deliveries := r.consumeUntil(ctx, 5)
	for i, id := range []string{"0", "1", "", "3", "4"} {
		r.publish(id)
		action := inbox.ActionDeadLetter
		if i > 2 {
			action = inbox.ActionRetry
		}
		r.settle(inbox.Settlement{Delivery: r.receive(deliveries), Action: action, Delay: time.Hour, Reason: inbox.ReasonHandler})
	}
	r.end(cancel)
	r.publish("5")

	for round := range 2 {
		// What was seen is back after a moment.
		testenv.Eventually(t, patience, "the depths", func() bool {
			if depths, err = inspector.Depths(t.Context()); err != nil {
				t.Fatal(err)
			}
			return depths.Ready == 1 && depths.Retrying == 2 && depths.DeadLettered == 3 && depths.Missing == nil
		})
		for _, read := range []struct {
			name string
			ids  func(context.Context, int) ([]string, error)
			n    int
			want []string
		}{
			{"dead letters", inspector.DeadLetterIDs, 0, []string{"0", "1"}},
		} {
			ids, err := read.ids(t.Context(), read.n)
			if err != nil || !slices.Equal(ids, read.want) {
				t.Errorf("round %d: %s: %v, %v; want %v", round, read.name, ids, err, read.want)
			}
		}
	}
	r.awaitDepth(r.names.DeadLetters, 3)
	if ids, err := inspector.DeadLetterIDs(t.Context(), 1); err != nil || !slices.Equal(ids, []string{"0"}) {
		t.Errorf("the first dead letter: %v, %v", ids, err)
	}
	var letters []string
	for range 3 {
		letters = append(letters, r.get(r.names.DeadLetters).MessageId)
	}
	if slices.Sort(letters); !slices.Equal(letters, []string{"", "0", "1"}) {
		t.Errorf("dead letters afterwards: %q", letters)
	}
}

// Whoever holds messages of a quorum queue is counted; of a classic one only
// consumers are, and the inspector says so.
func TestInspectorCountsHolders(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*rabbitmq.SourceConfig)
		counts bool
	}{
		"quorum":                 {func(*rabbitmq.SourceConfig) {}, true},
		"single active consumer": {func(c *rabbitmq.SourceConfig) { c.SingleActiveConsumer = true }, true},
		"classic":                {func(c *rabbitmq.SourceConfig) { c.QueueType = rabbitmq.Classic }, false},
	} {
		t.Run(name, func(t *testing.T) {
			for broker, url := range map[string]func(*testing.T) string{
				"RabbitMQ":  func(t *testing.T) string { return testenv.RabbitMQ(t) },
				"devbroker": func(t *testing.T) string { return devbroker.NewTest(t).URL() },
			} {
				t.Run(broker, func(t *testing.T) { requireHolders(t, newRigAt(t, url(t), tc.change), tc.counts) })
			}
		})
	}
}

func requireHolders(t *testing.T, r *rig, want bool) {
	t.Helper()
	inspector, err := rabbitmq.OpenInspector(t.Context(), r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer inspector.Close()
	counts := func() bool {
		counts, err := inspector.CountsHolders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	depths := func() rabbitmq.Depths {
		d, err := inspector.Depths(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if counts() || len(depths().Missing) != 4 {
		t.Error("queues that do not exist are counted, or were made by the question")
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.consumeUntil(ctx, 1)
	if got := counts(); got != want {
		t.Errorf("it counts holders: %v, want %v", got, want)
	}
	if d := depths(); d.Holders != 1 || d.Consumers != 1 {
		t.Errorf("beside a consumer: %+v", d)
	}
	r.end(cancel)
	if r.cfg.SingleActiveConsumer {
		return // nothing can be got from it
	}
	r.publish("0")
	r.awaitDepth(r.cfg.Queue, 1)
	holder := r.channel(r.conn)
	if d, ok, err := holder.Get(r.cfg.Queue, false); err != nil || !ok {
		t.Fatalf("get: %v, %v, %v", d, ok, err)
	}
	if d := depths(); d.Ready != 0 || d.Consumers != d.Holders || (d.Holders == 1) != want {
		t.Errorf("while a tool holds a message: %+v", d)
	}
}
