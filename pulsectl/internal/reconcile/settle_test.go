package reconcile_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// A message is not reported as lost while something may still hold it; the report
// names what.
func TestVerifyHeld(t *testing.T) {
	for name, tc := range map[string]struct {
		hold func(b *databases)
		says string
	}{
		"ready":                     {func(b *databases) { b.queues.Ready = 2 }, "2 ready in queue order.created"},
		"waiting for a retry":       {func(b *databases) { b.queues.Retrying = 3 }, "3 wait for a retry"},
		"seen by the management":    {func(b *databases) { b.queues.Unacked = 1 }, "1 delivered and not acknowledged"},
		"a consumer that is silent": {func(b *databases) { b.queues.Holders = 1 }, "1 of 1 consumers or tools at its queues do not report what they hold"},
		"one that speaks, one that does not": {func(b *databases) {
			b.queues.Holders = 2
			b.reports("a", 0, 0)
		}, "1 of 2 consumers"},
		"a consumer that has it": {func(b *databases) {
			b.queues.Holders = 1
			b.reports("a", 7, time.Minute)
		}, "consumer a holds 7, the oldest for 1m0s"},
		"a consumer that has said nothing for long": {func(b *databases) {
			b.queues.Holders = 1
			b.reports("frozen", 0, 0)
			b.exec(b.comparison.InboxDB, `UPDATE inbox_instances SET seen_at = $1`, b.ago(time.Minute))
		}, "1 of 1 consumers"},
		"a consumer of another queue": {func(b *databases) {
			b.queues.Holders = 1
			b.reports("a", 0, 0)
			b.exec(b.comparison.InboxDB, `UPDATE inbox_instances SET queue = 'other'`)
		}, "1 of 1 consumers"},
		"a consumer that has lost the broker": {func(b *databases) {
			b.queues.Holders = 1
			b.reports("a", 0, 0)
			b.exec(b.comparison.InboxDB, `UPDATE inbox_instances SET subscribed = FALSE`)
		}, "1 of 1 consumers"},
		"a queue that hides who gets from it": {func(b *databases) { b.queues.hidden = true }, "cannot be seen over AMQP"},
		"a retry queue that is not there":     {func(b *databases) { b.queues.Missing = []string{"order.created.retry.1s"} }, "order.created.retry.1s"},
		"dead letters that were not read": {func(b *databases) {
			b.queues.letters = []reconcile.DeadLetter{{ID: "x"}}
			b.queues.refuse = fmt.Errorf("%w: the broker would delete them", reconcile.ErrNotRead)
		}, "1 dead letters may be the missing ones: not read: the broker would delete them"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := onSQLite(t)
			b.handled()
			b.commit(event{})
			tc.hold(b)
			r := b.verify(time.Second) // many looks
			require(t, r, "not settled", nil)
			if r.Settled() || r.Missing != 1 || !strings.Contains(strings.Join(r.Waiting, "; "), tc.says) {
				t.Errorf("waiting %q, missing %d; want it to say %q", r.Waiting, r.Missing, tc.says)
			}
		})
	}
}

// reports writes the record of a consumer's instance.
func (b *databases) reports(name string, held int, age time.Duration) {
	b.t.Helper()
	var oldest any
	if held > 0 {
		oldest = b.ago(age)
	}
	b.exec(b.comparison.InboxDB, `DELETE FROM inbox_instances WHERE instance = $1`, name)
	b.exec(b.comparison.InboxDB, `INSERT INTO inbox_instances (consumer, instance, queue, subscribed, held, oldest_held_at, seen_at) VALUES ('notifications', $1, $2, TRUE, $3, $4, $5)`,
		name, topic, held, oldest, b.ago(0))
}

// If consumers report that they hold nothing and the queues are empty, what is
// missing is lost, also while the consumers handle new messages.
func TestVerifyLostUnderConsumer(t *testing.T) {
	for name, held := range map[string]int{"idle": 0, "busy": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := onSQLite(t)
			b.handled()
			id := b.commit(event{})
			b.queues.Holders = 1
			// What it holds is always new.
			b.queues.onLook = func(int) { b.reports("a", held, 0) }
			r := b.verify(patience)
			require(t, r, "lost", findings{reconcile.Lost: {id}, reconcile.OrderWithoutEffect: {id}})
		})
	}
}

// What arrives meanwhile is not lost: applied from a queue, or published by a
// relay.
func TestVerifySettles(t *testing.T) {
	b := onSQLite(t)
	b.handled()
	id := b.commit(event{})
	b.queues.Ready = 1
	b.queues.onLook = func(n int) {
		if n == 4 {
			b.queues.Ready = 0
			b.effect(b.apply(id), 1)
		}
	}
	r := b.verify(patience)
	require(t, r, "ok", nil)
	if r.Applied != 2 || r.Effects != 2 || r.Missing != 0 || !r.Settled() {
		t.Errorf("applied %d, effects %d, missing %d, waiting %q", r.Applied, r.Effects, r.Missing, r.Waiting)
	}

	pending := b.commit(event{status: outbox.Pending, failed: true})
	r = b.verify(time.Second)
	require(t, r, "not settled", nil)
	if text := strings.Join(r.Waiting, "; "); !strings.Contains(text, "1 pending (1 of them refused by the broker and retried), and no relay is ready") {
		t.Errorf("waiting %q", text)
	}
	b.comparison.Progress = new(reconcile.Progress)
	published := make(chan struct{})
	go func() {
		defer close(published)
		testenv.Eventually(t, patience, "it to wait", func() bool { return strings.Contains(b.comparison.Progress.Line(), "1 pending") })
		// A relay may store last what a consumer has applied by then. It is compared only after that.
		b.effect(b.apply(pending), 1)
		b.exec(b.comparison.OutboxDB, `UPDATE outbox_messages SET status = 'published', published_at = $1 WHERE id = $2`, b.ago(0), pending)
	}()
	r = b.verify(patience)
	<-published
	require(t, r, "ok", nil)
}

// The body of a message that is applied during the comparison is compared as well.
func TestVerifyConflictMeanwhile(t *testing.T) {
	b := onSQLite(t)
	b.handled()
	id := b.commit(event{payload: "{}"})
	b.queues.Ready = 1
	b.queues.onLook = func(n int) {
		if n == 4 {
			b.queues.Ready = 0
			b.effect(b.apply(id), 1)
		}
	}
	require(t, b.verify(patience), "conflicting", findings{reconcile.Conflicting: {id}})
}

// Definite faults are reported even while messages are pending.
func TestVerifyFindsWhileUnsettled(t *testing.T) {
	b := onSQLite(t)
	b.commit(event{status: outbox.Pending})
	twice := b.effect(b.apply(b.commit(event{})), 2)
	lost := b.commit(event{})
	r := b.verify(0)
	require(t, r, "lost and duplicated", findings{reconcile.Duplicated: {twice}, reconcile.Lost: {lost}, reconcile.OrderWithoutEffect: {lost}})
	if r.Settled() {
		t.Error("it is settled although a message is pending")
	}
}

// What is enqueued after the start is not compared.
func TestVerifyCut(t *testing.T) {
	b := onSQLite(t)
	b.handled()
	var newer string
	b.queues.onLook = func(n int) {
		if n == 1 { // the cut is taken already
			newer = b.commit(event{})
		}
	}
	r := b.verify(patience)
	require(t, r, "ok", nil)
	if r.Newer != 1 || r.Compared != 1 || r.Outbox != 1 || r.Orders != 1 {
		t.Errorf("%s is newer: %d, compared %d, outbox %d, orders %d", newer, r.Newer, r.Compared, r.Outbox, r.Orders)
	}
}

// An interrupted comparison returns what was found so far.
func TestVerifyInterrupted(t *testing.T) {
	b := onSQLite(t)
	for range 20 {
		b.handled()
	}
	b.commit(event{})
	b.queues.Ready = 1
	ctx, cancel := context.WithCancel(t.Context())
	b.queues.onLook = func(n int) {
		if n == 3 {
			cancel()
		}
	}
	r, err := b.comparison.Verify(ctx, patience)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	defer r.Close()
	if r.Compared != 21 || r.Applied != 20 || r.Missing != 1 {
		t.Errorf("compared %d, applied %d, missing %d", r.Compared, r.Applied, r.Missing)
	}
}
