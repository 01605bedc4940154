package outbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Messages are refused, unroutable and unavailable at random: of each key
// every message goes out once, and in order.
func TestRelayKeepsOrderUnderFailures(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		const keys, each = 12, 25
		ob, _ := d.newOutbox(t)
		random := rand.New(rand.NewPCG(1, 2))
		b := &broker{judge: func(m Message) error {
			switch random.IntN(12) {
			case 0:
				return Rejected(errors.New("queue is full"))
			case 1:
				return Unroutable(nil)
			case 2:
				if random.IntN(4) == 0 {
					return Unavailable(nil)
				}
			}
			return nil
		}}
		cfg := patient()
		cfg.BatchSize = 40
		relay := newRelay(t, ob, b, cfg)
		start(t, relay)
		for i := range each { // while it runs
			var msgs []Message
			for k := range keys {
				m := NewMessage(fmt.Sprintf("t.%d", i), nil)
				m.Key = fmt.Sprintf("key-%d", k)
				msgs = append(msgs, m)
			}
			enqueue(t, ob, append(msgs, NewMessage("keyless", nil))...)
		}
		eventually(t, "everything to be published", func() bool { return relay.Health().Published == each*(keys+1) })
		if got := b.count(); got != each*(keys+1) {
			t.Errorf("%d messages were taken for %d rows", got, each*(keys+1))
		}
		inOrder(t, b.taken)
		if relay.Health().Failed == 0 {
			t.Error("nothing failed: this test proves nothing")
		}
	})
}

// A dead message holds back its key, and no other, until somebody looks after it.
func TestRelayBlocksTheKeyOfADeadMessage(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		for _, c := range []struct {
			name string
			free func(t *testing.T, ob *Outbox, head Message)
			want []string
		}{
			{"until it is discarded", func(t *testing.T, ob *Outbox, head Message) {
				if _, err := ob.Discard(t.Context(), "broken", head.ID); err != nil {
					t.Fatal(err)
				}
			}, []string{"k.0", "k.2", "k.3"}},
			{"until it is retried", func(t *testing.T, ob *Outbox, head Message) {
				if _, err := ob.Retry(t.Context(), head.ID); err != nil {
					t.Fatal(err)
				}
			}, []string{"k.0", "k.1", "k.2", "k.3"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				ob, _ := d.newOutbox(t)
				msgs := keyed("k", 4)
				broken := true
				b := &broker{judge: func(m Message) error {
					if m.Topic == "k.1" && broken {
						return Permanent(errors.New("too large"))
					}
					return nil
				}}
				enqueue(t, ob, msgs[:3]...)
				relay := newRelay(t, ob, b, patient())
				start(t, relay)
				awaitStatus(t, ob, Dead, msgs[1])
				if r := record(t, ob, msgs[1]); r.Attempts != 1 || r.LastError != "cannot be published: too large" {
					t.Errorf("dead as %+v", r)
				}
				// The cursor passes the rows held back, as soon as a row behind them
				// is old enough; none of it may make the key's last row overtake.
				other := passCursors(t, ob, relay)
				enqueue(t, ob, msgs[3])
				awaitStatus(t, ob, Published, other)
				if got := keysTopics(b, "k"); !slices.Equal(got, []string{"k.0"}) {
					t.Fatalf("published %v behind a dead message", got)
				}
				b.mu.Lock()
				broken = false
				b.mu.Unlock()
				c.free(t, ob, msgs[1])
				awaitStatus(t, ob, Published, msgs[3])
				wantTopics(t, keysTopics(b, "k"), c.want)
			})
		}
	})
}

// passCursors returns once the cursors of all lanes have passed every row
// there was, and a message published since.
func passCursors(t *testing.T, ob *Outbox, relay *Relay) Message {
	t.Helper()
	top := int64(number(t, ob.db, `SELECT coalesce(max(seq), 0) FROM outbox_messages`))
	awaitPassed(t, relay, top)
	m := NewMessage("other", nil)
	enqueue(t, ob, m)
	return m
}

// awaitPassed returns once the cursors of all lanes have passed seq.
func awaitPassed(t *testing.T, relay *Relay, seq int64) {
	t.Helper()
	eventually(t, "the cursors to pass", func() bool {
		for _, l := range relay.lanes {
			for _, b := range l.reaches() {
				if b.position.Cursor < seq {
					return false
				}
			}
		}
		return true
	})
}

// keysTopics returns the topics of one key's messages, in the order taken.
func keysTopics(b *broker, key string) (topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.taken {
		if m.Key == key {
			topics = append(topics, m.Topic)
		}
	}
	return topics
}

// A retry that succeeds lets the rows go that the cursor has passed meanwhile.
func TestRelayPublishesARetriedMessageBeforeLaterOnes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		msgs := keyed("k", 5)
		refuse := true
		b := &broker{judge: func(m Message) error {
			if m.Topic == "k.0" && refuse {
				return Unroutable(errors.New("no queue"))
			}
			return nil
		}}
		enqueue(t, ob, msgs[:4]...)
		relay := newRelay(t, ob, b, patient())
		start(t, relay)
		eventually(t, "three attempts", func() bool { return record(t, ob, msgs[0]).Attempts >= 3 })
		r := record(t, ob, msgs[0])
		if r.Status != Pending || !r.Retrying() || r.LastError != "unroutable: no queue" {
			t.Errorf("retrying as %+v", r)
		}
		passCursors(t, ob, relay)
		enqueue(t, ob, msgs[4])
		b.mu.Lock()
		refuse = false
		b.mu.Unlock()
		awaitStatus(t, ob, Published, msgs...)
		wantTopics(t, keysTopics(b, "k"), topicsOf("k", 5))
		if n := number(t, db, `SELECT count(*) FROM outbox_messages WHERE attempts > 0`); n != 1 {
			t.Errorf("%d messages have attempts", n)
		}
	})
}

func TestRelayMaxAttempts(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		m := NewMessage("m", nil)
		enqueue(t, ob, m)
		cfg := eager()
		cfg.MaxAttempts = 3
		b := &broker{judge: func(Message) error { return errors.New("of no class") }}
		start(t, newRelay(t, ob, b, cfg))
		awaitStatus(t, ob, Dead, m)
		if r, tries := record(t, ob, m), b.triesOf(m); r.Attempts != 3 || tries != 3 {
			t.Errorf("%d attempts stored, %d made", r.Attempts, tries)
		}
	})
}

// F13: a transaction that has inserted stays open while others flow and the
// cursors pass its row. It goes out when it commits, before what was enqueued
// for its key afterwards. No sweep helps.
func TestRelayNeverSkipsALongTransaction(t *testing.T) {
	ob, _ := postgres.newOutbox(t)
	b := &broker{}
	cfg := patient()
	cfg.Lanes = 1
	relay := newRelay(t, ob, b, cfg)
	start(t, relay)

	msgs := keyed("k", 2)
	slow := ob.db.MustBegin()
	defer slow.Rollback()
	if err := ob.Enqueue(t.Context(), slow, msgs[0]); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		flowing := NewMessage("flowing", nil)
		enqueue(t, ob, flowing)
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
	}
	// Its commit and the next row of its key reach the relay in one snapshot.
	held := holdReads(t, ob.db)
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, ob, msgs[1])
	held()
	awaitStatus(t, ob, Published, msgs...)
	wantTopics(t, keysTopics(b, "k"), topicsOf("k", 2))
}

// holdReads keeps the lanes from reading until the returned function is called.
func holdReads(t *testing.T, db *sqlx.DB) (release func()) {
	t.Helper()
	tx := db.MustBegin()
	tx.MustExec(`LOCK TABLE outbox_leases IN ACCESS EXCLUSIVE MODE`)
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

// Rows that appear where no rule brings the cursor back to are found by the
// sweep; here because somebody changed them by hand.
func TestRelaySweepFindsWhatCursorsMiss(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		hidden := NewMessage("hidden", nil)
		enqueue(t, ob, hidden)
		db.MustExec(`UPDATE outbox_messages SET status = 'discarded', discarded_at = created_at`)
		cfg := eager()
		cfg.SweepInterval = 200 * time.Millisecond
		relay := newRelay(t, ob, &broker{}, cfg)
		start(t, relay)
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
		db.MustExec(`UPDATE outbox_messages SET status = 'pending', discarded_at = NULL WHERE topic = 'hidden'`)
		awaitStatus(t, ob, Published, hidden)
	})
}

// A transaction that is open alone, and has the highest number that was given out,
// is none that PostgreSQL's snapshots list. Its row is not left behind all the same.
func TestRelayFindsTheRowOfTheLastTransactionThatBegan(t *testing.T) {
	ob, _ := postgres.newOutboxAt(t, testenv.PostgresServer(t).URL()) // of its own: the numbers are the server's
	var up atomic.Bool
	b := &broker{judge: func(Message) error {
		if up.Load() {
			return nil
		}
		return Unavailable(errUnreachable)
	}}
	cfg := patient()
	cfg.LeaseTTL = time.Hour // and nothing is written by the relay meanwhile
	relay := newRelay(t, ob, b, cfg)
	start(t, relay)
	awaitLeases(t, map[*Relay]int{relay: buckets})

	first, last := ob.db.MustBegin(), ob.db.MustBegin()
	defer first.Rollback()
	defer last.Rollback()
	first.MustExec(`SELECT pg_current_xact_id()`) // its number is the lower one
	behind, before := NewMessage("behind", nil), NewMessage("before", nil)
	behind.Key, before.Key = "k", "k"
	if err := errors.Join(ob.Enqueue(t.Context(), last, behind), ob.Enqueue(t.Context(), first, before), first.Commit()); err != nil {
		t.Fatal(err)
	}
	tries := relay.outage.tries()
	eventually(t, "a try, after grace has passed", func() bool {
		return relay.outage.tries() > tries+4 && time.Since(relay.Health().Since) > 4*cfg.Grace
	})
	up.Store(true)
	awaitStatus(t, ob, Published, before)
	awaitPassed(t, relay, record(t, ob, before).Seq)
	if err := last.Commit(); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, ob, Published, behind)
}
