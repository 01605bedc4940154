package inboxtest

import (
	"context"
	"sync"
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
)

// DeliverTwice applies msg through Once and then again, as when a broker
// delivers a message a second time. It fails t unless h succeeds, runs to a
// commit once, and the second copy is known as a duplicate. The effect of
// the handler is for the test to check; see RequireCount.
func DeliverTwice(t testing.TB, in *inbox.Inbox, h inbox.Handler, msg inbox.Message) {
	t.Helper()
	for i, want := range []inbox.Outcome{inbox.Processed, inbox.Duplicate} {
		if got := once(t, in, h, msg); got != want {
			t.Fatalf("inboxtest: delivery %d of event %s was %s, want %s", i+1, msg.ID, got, want)
		}
	}
}

// DeliverAtOnce applies n copies of msg through Once concurrently, as when
// several instances of a service get one. It fails t unless exactly one copy
// is applied. The pool of the inbox should have n connections.
func DeliverAtOnce(t testing.TB, in *inbox.Inbox, h inbox.Handler, msg inbox.Message, n int) {
	t.Helper()
	outcomes := make([]inbox.Outcome, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { outcomes[i], errs[i] = deliver(t, in, h, msg) })
	}
	wg.Wait()
	processed := 0
	for i := range n {
		if errs[i] != nil {
			t.Fatalf("inboxtest: copy %d of event %s: %v", i+1, msg.ID, errs[i])
		}
		if outcomes[i] == inbox.Processed {
			processed++
		}
	}
	if processed != 1 {
		t.Fatalf("inboxtest: %d of %d copies of event %s were applied, want 1", processed, n, msg.ID)
	}
}

// RequireCount fails t unless query, which selects one number such as
// "SELECT count(*) FROM notifications WHERE event_id = $1", returns want.
func RequireCount(t testing.TB, db sqlx.QueryerContext, want int, query string, args ...any) {
	t.Helper()
	var got int
	if err := sqlx.GetContext(t.Context(), db, &got, query, args...); err != nil {
		t.Fatalf("inboxtest: %s: %v", query, err)
	}
	if got != want {
		t.Fatalf("inboxtest: %s %v: %d, want %d", query, args, got, want)
	}
}

func once(t testing.TB, in *inbox.Inbox, h inbox.Handler, msg inbox.Message) inbox.Outcome {
	t.Helper()
	outcome, err := deliver(t, in, h, msg)
	if err != nil {
		t.Fatalf("inboxtest: event %s: %v", msg.ID, err)
	}
	return outcome
}

func deliver(t testing.TB, in *inbox.Inbox, h inbox.Handler, msg inbox.Message) (inbox.Outcome, error) {
	if msg.Attempt == 0 {
		msg.Attempt = 1
	}
	return in.Once(t.Context(), msg, func(ctx context.Context, tx inbox.Tx) error { return h(ctx, tx, msg) })
}
