package faults_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
)

// F50: an asynchronous standby is promoted that lacks the last transactions.
// Sequence numbers of messages are used again; what is committed from then on
// is published, in the order of its key, without a restart.
func TestF50FailoverLosesTransactions(t *testing.T) {
	t.Parallel()
	primary := testenv.PostgresServer(t)
	standby := primary.Standby()
	proxy := testenv.NewProxy(t, hostOf(t, primary.URL()))
	db := openPooled(t, "pgx", proxy.Through(t, primary.URL()), nil)
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	recorder := new(outboxtest.Recorder)
	cfg := relayConfig()
	cfg.Logger = logger(t)
	relay, err := outbox.NewRelay(ob, recorder, cfg)
	if err != nil {
		t.Fatal(err)
	}
	inBackground(t, relay.Run)
	place := func(key string, n int) {
		t.Helper()
		for i := range n {
			testenv.Eventually(t, patience, "an order to be taken", func() bool { return enqueueOne(t, db, ob, key, i) == nil })
		}
	}
	place("before", 20)
	recorder.WaitFor(t, 20)
	behind := openPooled(t, "pgx", standby.URL(), nil)
	testenv.Eventually(t, patience, "the standby to have them", func() bool {
		n, err := count(behind, `SELECT count(*) FROM outbox_messages WHERE status = 'published'`)
		return n == 20 && err == nil
	})
	standby.Detach()
	place("lost", 200)
	recorder.WaitFor(t, 220)
	top := requireNumber(t, db, `SELECT max(seq) FROM outbox_messages`)

	standby.Promote()
	proxy.Retarget(hostOf(t, standby.URL()))
	proxy.Cut()
	place("after", 30)
	if first := requireNumber(t, db, `SELECT min(seq) FROM outbox_messages WHERE key = 'after'`); first > top {
		t.Fatalf("the first new number is %d, above %d: nothing was set back", first, top)
	}
	recorder.WaitFor(t, 250)
	var after []string
	for _, m := range recorder.Published() {
		if m.Key == "after" {
			after = append(after, string(m.Payload))
		}
	}
	for i, payload := range after {
		if want := fmt.Sprintf(`{"n": %d}`, i); payload != want {
			t.Fatalf("order %d is %s, want %s: %q", i, payload, want, after)
		}
	}
	// The oldest message is measured now and then: what was measured before counts for nothing.
	recorded := time.Now()
	testenv.Eventually(t, patience, "the relay to be well, and to say what it found", func() bool {
		h := relay.Health()
		return h.State == outbox.RelayRunning && h.Resets > 0 && h.Unserved == 0 && h.OldestPending == 0 && h.MeasuredAt.After(recorded)
	})
	if n := requireNumber(t, db, `SELECT count(*) FROM outbox_messages WHERE status <> 'published' OR attempts <> 0`); n != 0 {
		t.Errorf("%d messages are not published, or were refused", n)
	}
}

// hostOf returns the host and port of a URL.
func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func requireNumber(t *testing.T, db *sqlx.DB, query string) int {
	t.Helper()
	n, err := count(db, query)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
