package inbox_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// TestConsumerAppliesCopiesOnce: every message is delivered four times, to three instances,
// and the connection is lost in the middle.
func TestConsumerAppliesCopiesOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		msgs := events(400, 40)
		var copies []inbox.Message
		for range 4 {
			copies = append(copies, msgs...)
		}
		rand.Shuffle(len(copies), func(i, j int) { copies[i], copies[j] = copies[j], copies[i] })
		q := inboxtest.NewQueue()
		q.Publish(copies...)
		for range 3 {
			consume(t, in, q, record, inbox.ConsumerConfig{Workers: 3, BatchSize: 20})
		}
		q.WaitFor(t, "a quarter of the copies to be settled", func() bool { return len(q.Settled()) > len(copies)/4 })
		q.Disconnect()
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		if dead := q.DeadLetters(); len(dead) != 0 {
			t.Errorf("%d dead letters, the first %+v", len(dead), dead[0])
		}
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM inbox_attempts`)
	})
}

// tally notes how many messages each call settles.
type tally struct {
	*inboxtest.Queue
	sizes *[]int
}

func (c tally) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	*c.sizes = append(*c.sizes, len(settlements))
	return c.Queue.Settle(ctx, settlements)
}

func TestConsumerBatchSharesTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		msgs := events(100, 100)
		q.Publish(msgs...)
		var settled []int
		counting := tally{q, &settled}
		c := consume(t, in, counting, record, inbox.ConsumerConfig{Workers: 1, BatchSize: 50, Linger: patience})
		q.WaitUntilEmpty(t)
		c.stop()
		if !slices.Equal(settled, []int{50, 50}) {
			t.Errorf("messages were settled by %d, want two batches of 50", settled)
		}
		wantOnce(t, db, msgs)
		if dialect(db) == inbox.PostgreSQL {
			inboxtest.RequireCount(t, db, 2, `SELECT count(DISTINCT xmin::text) FROM effects`)
			inboxtest.RequireCount(t, db, 2, `SELECT count(DISTINCT xmin::text) FROM processed_events`)
		}
	})
}

func TestConsumerCopiesAndConflictsInBatch(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		inboxtest.DeliverTwice(t, in, record, event(0)) // applied long before
		forged := func(i int) inbox.Message {
			m := event(i)
			m.Payload = []byte(`{"order":666}`)
			return m
		}
		q := inboxtest.NewQueue()
		q.Publish(event(0), event(1), event(1), forged(0), event(2), forged(1), event(1), event(2))
		consume(t, in, q, record, inbox.ConsumerConfig{Workers: 1, BatchSize: 8, Linger: patience})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, events(3, 3))
		if dialect(db) == inbox.PostgreSQL {
			inboxtest.RequireCount(t, db, 1, `SELECT count(DISTINCT xmin::text) FROM effects WHERE event_id <> 'event-00000'`)
		}
		var dead []string
		for _, s := range q.DeadLetters() {
			dead = append(dead, fmt.Sprint(s.Delivery.Message.ID, " ", string(s.Delivery.Message.Payload), " ", s.Reason))
		}
		want := []string{`event-00000 {"order":666} conflict`, `event-00001 {"order":666} conflict`}
		if fmt.Sprint(dead) != fmt.Sprint(want) {
			t.Errorf("dead letters %v, want %v", dead, want)
		}
	})
}

// spy looks at settlements before the queue carries them out.
type spy struct {
	*inboxtest.Queue
	look func(inbox.Settlement)
}

func (s spy) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	for _, settlement := range settlements {
		s.look(settlement)
	}
	return s.Queue.Settle(ctx, settlements)
}

func TestConsumerAcknowledgesOnlyCommitted(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		msgs := events(200, 50)
		q.Publish(msgs...)
		q.Publish(msgs[:50]...)
		early := make(map[string]bool)
		var mu sync.Mutex
		watched := spy{q, func(s inbox.Settlement) {
			var effects int
			err := db.GetContext(t.Context(), &effects, `SELECT count(*) FROM effects WHERE event_id = $1`, s.Delivery.Message.ID)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || s.Action == inbox.ActionAck && effects != 1 {
				early[s.Delivery.Message.ID] = true
			}
		}}
		consume(t, in, watched, record, inbox.ConsumerConfig{Workers: 4, BatchSize: 10})
		q.WaitUntilEmpty(t)
		mu.Lock()
		defer mu.Unlock()
		if len(early) > 0 {
			t.Errorf("%d messages were acknowledged before their effect was there", len(early))
		}
		wantOnce(t, db, msgs)
	})
}

func TestConsumerKeepsOrderOfKey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		q := inboxtest.NewQueue()
		msgs := events(600, 30)
		q.Publish(msgs...)
		consume(t, in, q, record, inbox.ConsumerConfig{Workers: 4, BatchSize: 10})
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		wantKeyOrder(t, db)
	})
}

// TestConsumerRunsKeysInParallel: the first message of all holds up its worker until
// other keys are done. SQLite has one transaction at a time.
func TestConsumerRunsKeysInParallel(t *testing.T) {
	in, db := newInbox(t, testenv.Postgres(t))
	q := inboxtest.NewQueue()
	first := event(99999)
	first.Key = "slow"
	msgs := append([]inbox.Message{first}, events(60, 30)...)
	q.Publish(msgs...)
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		if msg.Key == "slow" {
			eventually(t, "another key to overtake", func() bool {
				var done int
				err := db.GetContext(t.Context(), &done, `SELECT count(*) FROM effects`)
				return err == nil && done > 0
			})
		}
		return record(ctx, tx, msg)
	}
	consume(t, in, q, handler, inbox.ConsumerConfig{Workers: 4, BatchSize: 10})
	q.WaitUntilEmpty(t)
	wantOnce(t, db, msgs)
}

// wantKeyOrder fails t unless the effects of each key came in the order of its
// events.
func wantKeyOrder(t *testing.T, db *sqlx.DB) {
	t.Helper()
	inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM (
		SELECT event_id, lag(event_id) OVER (PARTITION BY key ORDER BY n) AS before FROM effects) AS e
		WHERE before > event_id`)
}

// TestClaimSortsAgainstDeadlocks: two instances claim the same ids in
// opposite orders, row by row and slowly, which only sorting keeps from
// deadlocks.
func TestClaimSortsAgainstDeadlocks(t *testing.T) {
	in, db := newInbox(t, testenv.Postgres(t))
	mustExec(t, db, `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN PERFORM pg_sleep(0.005); RETURN NEW; END $$;
		CREATE TRIGGER dawdle BEFORE INSERT ON processed_events FOR EACH ROW EXECUTE FUNCTION dawdle()`)
	const n, rounds = 40, 3
	for round := range rounds {
		queues := [2]*inboxtest.Queue{inboxtest.NewQueue(), inboxtest.NewQueue()}
		for i := range n {
			queues[0].Publish(event(round*n + i))
			queues[1].Publish(event(round*n + n - 1 - i))
		}
		var both [2]*running
		for i, q := range queues {
			both[i] = consume(t, in, q, record, inbox.ConsumerConfig{Workers: 1, BatchSize: n, Linger: patience})
		}
		for i, q := range queues {
			q.WaitUntilEmpty(t)
			both[i].stop()
		}
	}
	wantOnce(t, db, events(n*rounds, 1))
	inboxtest.RequireCount(t, db, 0, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
}

func TestNewConsumerFunc(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		msgs := events(100, 10)
		q := inboxtest.NewQueue()
		q.Publish(msgs...)
		q.Publish(msgs...)
		forged := msgs[0]
		forged.Payload = nil
		q.Publish(forged)
		cfg := inbox.ConsumerConfig{}
		quiet(t, &cfg)
		c, err := inbox.NewConsumerFunc(q, func(ctx context.Context, msg inbox.Message) error {
			tx, err := db.BeginTxx(ctx, nil)
			if err != nil {
				return inbox.Unavailable(err)
			}
			defer tx.Rollback()
			fresh, err := in.Claim(ctx, tx, msg)
			if err != nil || !fresh {
				return err
			}
			if err := record(ctx, tx, msg); err != nil {
				return err
			}
			return tx.Commit()
		}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		start(t, c)
		q.WaitUntilEmpty(t)
		wantOnce(t, db, msgs)
		wantKeyOrder(t, db)
		if dead := q.DeadLetters(); len(dead) != 1 || dead[0].Reason != inbox.ReasonConflict {
			t.Errorf("dead letters %+v, want the conflict alone", dead)
		}
	})
}

func TestConsumerPurges(t *testing.T) {
	eachKind(t, func(t *testing.T, url string, kind newConsumer) {
		in, db := newInbox(t, url)
		const day = 24 * time.Hour
		hash := make([]byte, sha256.Size)
		mustExec(t, db, `INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at)
			VALUES ('notifications', 'old', $1, $2), ('notifications', 'new', $1, $3)`, hash, ago(db, 31*day), ago(db, 0))
		keep := kind.consume(t, in, db, inboxtest.NewQueue(), record, inbox.ConsumerConfig{Retention: inbox.KeepForever, PurgeInterval: time.Millisecond})
		keep.stop()
		inboxtest.RequireCount(t, db, 2, `SELECT count(*) FROM processed_events`)
		kind.consume(t, in, db, inboxtest.NewQueue(), record, inbox.ConsumerConfig{PurgeInterval: time.Millisecond})
		for range 2 { // the second time it is the ticker's doing
			eventually(t, "the old event to be forgotten", func() bool {
				var n int
				err := db.GetContext(t.Context(), &n, `SELECT count(*) FROM processed_events WHERE event_id = 'old'`)
				return err == nil && n == 0
			})
			mustExec(t, db, `INSERT INTO processed_events (consumer, event_id, payload_hash, processed_at)
				VALUES ('notifications', 'old', $1, $2)`, hash, ago(db, 32*day))
		}
		inboxtest.RequireCount(t, db, 1, `SELECT count(*) FROM processed_events WHERE event_id = 'new'`)
	})
}
