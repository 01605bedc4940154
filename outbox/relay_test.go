package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

func TestRelayPublishesWhatIsCommitted(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		early := NewMessage("early", []byte(`{"n":1}`))
		early.Key, early.Headers, early.CausationID = "order-1", map[string]string{"tenant": "t1"}, "cause"
		enqueue(t, ob, early)
		if err := inTx(t, ob, func(tx *sqlx.Tx) error { return ob.Enqueue(t.Context(), tx, NewMessage("ghost", nil)) }); err != nil {
			t.Fatal(err)
		}
		b := &broker{}
		stop := start(t, newRelay(t, ob, b, eager()))
		late := NewMessage("late", nil)
		enqueue(t, ob, late)
		awaitStatus(t, ob, Published, early, late)
		stop()

		got := slices.Sorted(slices.Values(b.topics()))
		wantTopics(t, got, []string{"early", "late"})
		r, m := record(t, ob, early), b.taken[slices.Index(b.topics(), "early")]
		if r.PublishedAt.IsZero() || r.Attempts != 0 || r.LastError != "" {
			t.Errorf("published as %+v", r)
		}
		m.AvailableAt = r.AvailableAt // not sent
		if fmt.Sprint(m) != fmt.Sprint(r.Message) {
			t.Errorf("sent  %v\nstored %v", m, r.Message)
		}
	})
}

func TestRelayDrainsABacklogInAnyShape(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct {
			name  string
			rows  int
			keys  int
			lanes int
			batch int
		}{
			{"without keys", 800, 0, 4, 100}, {"one key", 300, 1, 4, 64}, {"few keys", 500, 7, 3, 50},
			{"many keys", 900, 600, 2, 500}, {"one row at a time", 100, 5, 1, 1}, {"a lane for each bucket", 500, 50, 64, 10},
		} {
			t.Run(c.name, func(t *testing.T) {
				n := c.rows
				ob, db := d.newOutbox(t)
				db.SetMaxOpenConns(6) // fewer than lanes: they take turns
				db.SetMaxIdleConns(6)
				backlog(t, db, n, c.keys)
				b := &broker{}
				cfg := patient()
				cfg.Lanes, cfg.BatchSize = c.lanes, c.batch
				relay := newRelay(t, ob, b, cfg)
				start(t, relay)
				eventually(t, "the backlog to drain", func() bool { return relay.Health().Published >= int64(n) })
				if got := b.count(); got != n {
					t.Errorf("%d messages were sent for %d rows", got, n)
				}
				inOrder(t, b.taken)
				if open := number(t, db, `SELECT count(*) FROM outbox_messages WHERE status <> 'published'`); open > 0 {
					t.Errorf("%d rows are not published", open)
				}
			})
		}
	})
}

// Large payloads make a batch shorter, but none is too large to go out; and a
// batch that was cut is followed by the next at once.
func TestRelayLimitsTheBytesOfABatch(t *testing.T) {
	const limit = 64 << 10
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		var msgs []Message
		for i := range 40 {
			size := []int{0, limit / 3, limit / 2, limit / 2, 1, limit - 1, limit, limit + 1, 3 * limit, 100}[i%10]
			msgs = append(msgs, Message{Topic: "large", Payload: make([]byte, size), Key: fmt.Sprint(i)})
		}
		enqueue(t, ob, msgs...)
		cfg := patient()
		cfg.Lanes, cfg.BatchBytes = 1, limit
		cfg.PollInterval, cfg.MaxPollInterval = 15*time.Second, 15*time.Second // to wait after each batch would take too long
		b := &batches{}
		relay := newRelay(t, ob, b, cfg)
		start(t, relay)
		eventually(t, "all to be published", func() bool { return relay.Health().Published == int64(len(msgs)) })
		alone, bytes := 0, 0
		for _, sizes := range b.sizes {
			batch, large := 0, 0
			for _, size := range sizes {
				batch += size
				large = max(large, size)
			}
			bytes += batch
			if large > limit {
				alone++
			}
			if batch > max(limit, large) {
				t.Errorf("%d bytes in one batch of %v", batch, sizes)
			}
		}
		if alone != 8 {
			t.Errorf("%d batches hold a message beyond the limit, want 8", alone)
		}
		// Two batches in a row hold more than the limit between them, but for those
		// that were read while the relay took its buckets.
		if most := 2*bytes/limit + 10; len(b.sizes) > most {
			t.Errorf("%d batches for %d bytes, want %d at most", len(b.sizes), bytes, most)
		}
	})
}

// batches is a Publisher that accepts everything and remembers the sizes of
// what came together.
type batches struct {
	mu    sync.Mutex
	sizes [][]int
}

func (b *batches) Publish(_ context.Context, msgs []Message) []error {
	sizes := make([]int, len(msgs))
	for i, m := range msgs {
		sizes[i] = len(m.Payload)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizes = append(b.sizes, sizes)
	return make([]error, len(msgs))
}

// inOrder checks that messages of one key come by seq, each once.
func inOrder(t testing.TB, msgs []Message) {
	t.Helper()
	last := make(map[string]int64)
	for _, m := range msgs {
		if m.Key != "" && m.Seq <= last[m.Key] {
			t.Fatalf("key %s: seq %d after %d", m.Key, m.Seq, last[m.Key])
		}
		last[m.Key] = m.Seq
	}
}

func TestRelayDeletesOnPublish(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		refused := NewMessage("refused", nil)
		enqueue(t, ob, append(keyed("k", 5), refused)...)
		cfg := eager()
		cfg.Retention = DeleteOnPublish
		start(t, newRelay(t, ob, &broker{judge: func(m Message) error {
			if m.Topic == "refused" {
				return Permanent(nil)
			}
			return nil
		}}, cfg))
		eventually(t, "published rows to go", func() bool { return number(t, db, `SELECT count(*) FROM outbox_messages`) == 1 })
		awaitStatus(t, ob, Dead, refused)
	})
}

func TestRelayPurgesByRetention(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		db.MustExec(`UPDATE outbox_messages SET status = 'published', published_at = ` + clock(db, "-2 hours") + `, created_at = ` + clock(db, "-3 hours"))
		cfg := eager()
		cfg.PurgeInterval, cfg.Retention = 10*time.Millisecond, time.Hour
		start(t, newRelay(t, ob, &broker{}, cfg))
		eventually(t, "the old row to go", func() bool { return number(t, db, `SELECT count(*) FROM outbox_messages`) == 0 })
	})
}

func TestRelayDelays(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		later, now := NewMessage("k.later", nil), NewMessage("k.now", nil)
		later.Key, now.Key = "k", "k" // a delay holds back nothing
		later.AvailableAt = time.Now().Add(time.Hour)
		enqueue(t, ob, later, now)
		b := &broker{}
		start(t, newRelay(t, ob, b, patient()))
		awaitStatus(t, ob, Published, now)
		fresh := NewMessage("fresh", nil)
		enqueue(t, ob, fresh)
		awaitStatus(t, ob, Published, fresh)
		if record(t, ob, later).Status != Pending {
			t.Fatal("published before its time")
		}
		db.MustExec(`UPDATE outbox_messages SET created_at = ` + clock(db, "-1 minute") + `, available_at = ` + clock(db, "") + ` WHERE topic = 'k.later'`)
		awaitStatus(t, ob, Published, later)
	})
}

// Polling is an hour away: only the hint can tell.
func TestRelayWakes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		b := &broker{}
		cfg := RelayConfig{PollInterval: time.Hour, MaxPollInterval: time.Hour}
		relay := newRelay(t, ob, b, cfg)
		relay.Wake() // before Run: no harm
		start(t, relay)
		for i := range 3 {
			m := NewMessage(fmt.Sprintf("m%d", i), nil)
			eventually(t, "the leases", func() bool { return relay.Health().Leases == buckets })
			enqueue(t, ob, m)
			relay.Wake()
			awaitStatus(t, ob, Published, m)
		}
	})
}

// Rows that a producer in plain SQL wrote wrongly are dead at once, and those
// beside them are not harmed.
func TestRelayMarksDeadWhatCannotBeSent(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct{ name, column, value, want string }{
			{"number in headers", "headers", `{"a":"x","n":5}`, `headers: "n" must be a string, not 5`},
			{"object in headers", "headers", `{"o":{"x":1}}`, `headers: "o" must be a string`},
			{"null in headers", "headers", `{"z":null}`, `headers: "z" must be a string, not null`},
			{"reserved header", "headers", `{"CC":"x"}`, `headers: "CC" is reserved`},
			{"no version", "headers", `{"pulse-version":"two"}`, `headers: "pulse-version": "two" is not the version of a contract`},
			{"no time", "occurred_at", `infinity`, `occurred_at: is no point in time`},
			{"too late a time", "occurred_at", `10000-01-01T00:00:00Z`, `occurred_at: year 10000; must be 1 to 9999`},
			{"too early a time", "occurred_at", `0044-03-15 00:00:00Z BC`, `occurred_at: year -43; must be 1 to 9999`},
		} {
			if c.column == "occurred_at" && d.dialect == sqldb.SQLite { // a CHECK keeps it out
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				ob, db := d.newOutbox(t)
				msgs := keyed("k", 3)
				other := NewMessage("other", nil)
				enqueue(t, ob, append(msgs, other)...)
				db.MustExec(`UPDATE outbox_messages SET `+c.column+` = $1 WHERE topic = 'k.1'`, c.value)
				b := &broker{}
				relay := newRelay(t, ob, b, eager())
				start(t, relay)
				awaitStatus(t, ob, Published, msgs[0], other)
				eventually(t, "the row to be dead", func() bool { return relay.Health().Dead == 1 })
				var text string
				if err := db.Get(&text, `SELECT last_error FROM outbox_messages WHERE topic = 'k.1' AND attempts = 1`); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(text, c.want) {
					t.Errorf("last error %q, want %q", text, c.want)
				}
				if n := number(t, db, `SELECT count(*) FROM outbox_messages WHERE topic = 'k.2' AND status = 'pending'`); n != 1 {
					t.Error("the next message of its key was not held back")
				}
			})
		}
	})
}

func TestRelayConfigNamesEveryProblem(t *testing.T) {
	_, err := NewRelay(nil, nil, RelayConfig{
		Owner: "a\x00", Lanes: 65, BatchSize: -1, PollInterval: time.Minute, MaxPollInterval: time.Second, LeaseTTL: time.Millisecond,
		PublishTimeout: -1, SweepInterval: -1, Grace: -1, Retention: -3, PurgeInterval: -1, ShutdownTimeout: -1, MaxAttempts: -1, KeyWindow: -1,
	})
	for _, field := range []string{"Owner", "Lanes", "BatchSize", "MaxPollInterval", "LeaseTTL", "PublishTimeout", "SweepInterval",
		"Grace", "Retention", "PurgeInterval", "ShutdownTimeout", "MaxAttempts", "KeyWindow", "the outbox is nil", "the publisher is nil"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%q is not named in: %v", field, err)
		}
	}
}

func TestBackoffGrowsAndStaysWithinItsBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		backoff func(int) time.Duration
		longest time.Duration
		fifth   time.Duration // at least
	}{{"default", DefaultBackoff, time.Minute, 16 * time.Second}, {"rejected", RejectedBackoff, 5 * time.Minute, 200 * time.Second}} {
		for attempt := range 100 {
			if d := c.backoff(attempt); d < time.Second || d > c.longest {
				t.Errorf("%s, attempt %d: %v", c.name, attempt, d)
			}
		}
		if first, later := c.backoff(1), c.backoff(5); first >= 2*time.Second || later < c.fifth {
			t.Errorf("%s does not grow: %v, then %v", c.name, first, later)
		}
	}
	var cfg RelayConfig
	if d := cfg.backoff(5, Rejected(nil)); d < 200*time.Second {
		t.Errorf("%v after a refusal", d)
	}
	if d := cfg.backoff(5, Unroutable(nil)); d > time.Minute {
		t.Errorf("%v for want of a queue", d)
	}
	cfg.Backoff = func(attempt int) time.Duration { return time.Duration(attempt) }
	if d := cfg.backoff(5, Rejected(nil)); d != 5 {
		t.Errorf("%v, where the configuration says 5 ns", d)
	}
}

// Nothing of a relay runs after Run, which may then be called again.
func TestRelayRunsAgain(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		relay := newRelay(t, ob, &broker{}, eager())
		if s := relay.Health().State; s != RelayStarting {
			t.Errorf("state %s before Run", s)
		}
		for i := range 2 {
			running := goleak.IgnoreCurrent()
			m := NewMessage(fmt.Sprintf("m%d", i), nil)
			enqueue(t, ob, m)
			stop := start(t, relay)
			awaitStatus(t, ob, Published, m)
			if err := relay.Run(context.Background()); !errors.Is(err, ErrRunning) {
				t.Errorf("Run twice at once: %v", err)
			}
			if h := relay.Health(); h.State != RelayRunning || h.Leases != buckets {
				t.Errorf("health %+v", h)
			}
			stop()
			if h := relay.Health(); h.State != RelayStopped || h.Leases != 0 {
				t.Errorf("health after Run %+v", h)
			}
			if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> '' OR expires_at > `+clock(db, "-1 day")); n != 0 {
				t.Errorf("%d leases were not released", n)
			}
			db.SetMaxIdleConns(0) // its goroutines are not ours
			goleak.VerifyNone(t, running, goleak.IgnoreTopFunction("database/sql.(*DB).connectionOpener"))
			db.SetMaxIdleConns(6)
		}
		if relays, err := ob.Relays(t.Context()); err != nil || len(relays) != 0 {
			t.Errorf("relays after Run: %v, %v", relays, err)
		}
	})
}
