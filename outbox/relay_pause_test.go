package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func pause(t testing.TB, ob *Outbox, topic string) {
	t.Helper()
	if fresh, err := ob.Operator("alice", "broker is being moved").Pause(t.Context(), topic); !fresh || err != nil {
		t.Fatalf("pause %q: %v, %v", topic, fresh, err)
	}
}

func resume(t testing.TB, ob *Outbox, topic string) {
	t.Helper()
	if ended, err := ob.Operator("bob", "").Resume(t.Context(), topic); !ended || err != nil {
		t.Fatalf("resume %q: %v, %v", topic, ended, err)
	}
}

func TestPausesAreKept(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		pause(t, ob, "order.created")
		pause(t, ob, "")
		if fresh, err := ob.Operator("carol", "again").Pause(t.Context(), ""); fresh || err != nil {
			t.Errorf("%v, %v; want the pause that is there to stay", fresh, err)
		}
		pauses, err := ob.Pauses(t.Context())
		if err != nil || len(pauses) != 2 {
			t.Fatalf("%+v, %v", pauses, err)
		}
		for i, topic := range []string{"", "order.created"} {
			if p := pauses[i]; p.Topic != topic || p.Actor != "alice" || p.Reason != "broker is being moved" || databaseClock(t, ob).Sub(p.Since).Abs() > time.Minute {
				t.Errorf("%+v", p)
			}
		}
		resume(t, ob, "")
		if ended, err := ob.Operator("bob", "").Resume(t.Context(), "other"); ended || err != nil {
			t.Errorf("%v, %v; nothing was paused", ended, err)
		}
		var actions []string
		for _, e := range auditOf(t, ob, AuditQuery{}) {
			actions = append(actions, e.Actor+" "+e.Action+" "+e.Filter["topic"])
		}
		if !slices.Equal(actions, []string{"bob resume ", "alice pause ", "alice pause order.created"}) {
			t.Errorf("%q", actions)
		}
		if _, err := ob.Operator("alice", "").Pause(t.Context(), "t"); err == nil || !strings.Contains(err.Error(), "reason: is empty") {
			t.Errorf("without a reason: %v", err)
		}
		if _, err := ob.Operator("alice", "r").Pause(t.Context(), strings.Repeat("t", 256)); err == nil || !strings.Contains(err.Error(), "topic: 256 bytes") {
			t.Errorf("%v", err)
		}
		for i := range MaxPauses - 1 {
			db.MustExec(`INSERT INTO outbox_pauses (topic, actor, reason) VALUES ($1, 'a', 'r')`, fmt.Sprint("t", i))
		}
		if fresh, err := ob.Operator("alice", "r").Pause(t.Context(), "one more"); fresh || err == nil || !strings.Contains(err.Error(), "pause all of them") {
			t.Errorf("%v, %v", fresh, err)
		}
		if fresh, err := ob.Operator("alice", "r").Pause(t.Context(), "t7"); fresh || err != nil {
			t.Errorf("one that is there: %v, %v", fresh, err)
		}
	})
}

// While everything is paused there is nothing to sweep: that a sweep had failed before
// is no trouble any more.
func TestRelayForgetsAFailedSweepWhilePaused(t *testing.T) {
	ob, _ := file.newOutbox(t)
	pause(t, ob, "")
	relay := newRelay(t, ob, &broker{}, eager())
	start(t, relay)
	eventually(t, "the pause to be known", func() bool { return len(relay.Health().Paused) == 1 && relay.pauses.now().all })
	relay.monitor.trouble(t.Context(), partSweep, errors.New("the database was away"))
	eventually(t, "the relay to recover", func() bool { return relay.Health().State == RelayRunning })
}

// A paused topic waits, and so does what comes after it in its keys; everything else
// goes on. The relay is well, and says what is paused. Once resumed all of it goes out,
// in order.
func TestRelayObeysPauseOfTopic(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		pause(t, ob, "paused")
		const keys = 20
		for _, topic := range []string{"first", "paused", "third"} {
			var msgs []Message
			for k := range keys {
				msgs = append(msgs, Message{Topic: topic, Key: fmt.Sprint("key-", k)})
			}
			enqueue(t, ob, msgs...)
		}
		enqueue(t, ob, topical("other", keys)...)
		enqueue(t, ob, Message{Topic: "paused"})
		retried := put(t, ob, Message{Topic: "paused", Key: "retried"}, Pending, 3)
		b := &broker{}
		cfg := patient()
		cfg.BatchSize = 10
		relay := newRelay(t, ob, b, cfg)
		start(t, relay)
		eventually(t, "what waits to be counted", func() bool {
			h := relay.Health()
			return h.Published == 2*keys && len(h.Paused) == 1 && h.Paused[0].Waiting == 2*keys+2
		})
		h := relay.Health()
		if p := h.Paused[0]; h.State != RelayRunning || h.LastError != nil || p.Topic != "paused" || p.Actor != "alice" ||
			p.Reason != "broker is being moved" || databaseClock(t, ob).Sub(p.Since).Abs() > time.Minute {
			t.Errorf("%+v", h)
		}
		if slices.Contains(b.topics(), "paused") || slices.Contains(b.topics(), "third") {
			t.Errorf("%q were sent", b.topics())
		}
		if n := number(t, db, `SELECT count(*) FROM outbox_messages WHERE attempts > 0`); n != 1 {
			t.Errorf("%d messages have attempts, want the one that had before", n)
		}
		resume(t, ob, "paused")
		awaitPublished(t, relay, 4*keys+2)
		inOrder(t, b.taken)
		for k := range keys {
			wantTopics(t, keysTopics(b, fmt.Sprint("key-", k)), []string{"first", "paused", "third"})
		}
		if got := get(t, ob, retried).Status; got != Published {
			t.Errorf("the retried one is %s", got)
		}
		eventually(t, "the relay to tell of no pause", func() bool { return len(relay.Health().Paused) == 0 })
	})
}

// What is committed after a pause is not sent before it is resumed: not once, whatever
// the relay is doing meanwhile.
func TestRelaySendsNothingAfterPause(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		b := &broker{}
		cfg := eager()
		cfg.Lanes = 1 // reads the marker no sooner than what came before it
		relay := newRelay(t, ob, b, cfg)
		start(t, relay)
		sent := 0
		for round := range 4 {
			enqueue(t, ob, Message{Topic: "paused", Key: "k"}) // perhaps on its way
			pause(t, ob, "paused")
			held := uuid.New()
			enqueue(t, ob, Message{ID: held, Topic: "paused", Key: fmt.Sprint("k", round%2)})
			enqueue(t, ob, Message{Topic: "marker"})
			sent += 3
			eventually(t, "the marker to be published", func() bool { return slices.Index(b.topics()[min(3*round, b.count()):], "marker") >= 0 })
			if n := b.triesOf(Message{ID: held}); n != 0 {
				t.Fatalf("round %d: it was sent %d times", round, n)
			}
			resume(t, ob, "paused")
			eventually(t, "all to be published", func() bool { return b.count() == sent })
		}
		inOrder(t, b.taken)
	})
}

// A pause ends a batch that is being sent, after the call that is under way, whose
// verdicts are stored.
func TestRelayObeysPauseWithinABatch(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		msgs := []Message{{ID: uuid.New(), Topic: "paused", Key: "k"}, {ID: uuid.New(), Topic: "paused", Key: "k"}, {ID: uuid.New(), Topic: "paused", Key: "k"}}
		enqueue(t, ob, msgs...)
		s := newStage()
		cfg := patient()
		cfg.Lanes = 1
		relay := newRelay(t, ob, s, cfg)
		start(t, relay)
		first := s.next(t)
		pause(t, ob, "paused")
		eventually(t, "the relay to know", func() bool { return len(relay.Health().Paused) == 1 })
		enqueue(t, ob, Message{Topic: "other"})
		first.accept()
		second := s.next(t)
		if len(second.msgs) != 1 || second.msgs[0].Topic != "other" {
			t.Errorf("after the pause %+v was sent", second.msgs)
		}
		second.accept()
		awaitStatus(t, ob, Published, msgs[0])
		resume(t, ob, "paused")
		s.next(t).accept()
		s.next(t).accept()
		awaitStatus(t, ob, Published, msgs...)
	})
}

// While everything is paused nothing is sent, and a Drain says why it ends.
func TestRelayObeysPauseOfAll(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		pause(t, ob, "")
		enqueue(t, ob, keyed("k", 3)...)
		put(t, ob, Message{Topic: "retrying"}, Pending, 2)
		b := &broker{}
		cfg := eager()
		cfg.LeaseTTL = time.Second
		relay := newRelay(t, ob, b, cfg)
		drained, err := relay.Drain(t.Context())
		if !errors.Is(err, ErrPaused) || !strings.Contains(err.Error(), "(all) by alice: broker is being moved") || drained.Left.N != 4 || b.count() != 0 {
			t.Fatalf("%+v, %v, %d sent", drained, err, b.count())
		}
		start(t, relay)
		eventually(t, "the relay to know", func() bool { return len(relay.Health().Paused) == 1 })
		resume(t, ob, "")
		awaitPublished(t, relay, 4)
		pause(t, ob, "")
		eventually(t, "the relay to know", func() bool { return len(relay.Health().Paused) == 1 })
		enqueue(t, ob, Message{Topic: "late"})
		stopped, cancel := context.WithCancel(t.Context())
		cancel()
		if ended, err := ob.Operator("bob", "").Resume(stopped, ""); ended || err == nil {
			t.Errorf("%v, %v", ended, err)
		}
		resume(t, ob, "")
		awaitPublished(t, relay, 5)
		inOrder(t, b.taken)
	})
}

// A topic that is suspended and paused is not tried.
func TestPausedTopicIsNotTried(t *testing.T) {
	ob, _ := file.newOutbox(t)
	relay := newRelay(t, ob, &broker{}, RelayConfig{})
	l := relay.lanes[0]
	b := &bucket{held: newHeld()}
	b.held.add(&Message{Topic: "t", Seq: 7})
	l.buckets[0] = b
	relay.suspended.suspend("t", ErrUnavailable)
	relay.suspended.silent["t"].until = time.Time{}
	names, _ := relay.suspended.names()
	for _, stopped := range []paused{pausedTopics([]string{"t"}), pausedTopics([]string{""})} {
		if trials := l.beginTrials(names, stopped); len(trials) != 0 {
			t.Errorf("%+v are tried under %+v", trials, stopped)
		}
	}
	trials := l.beginTrials(names, pausedTopics([]string{"u"}))
	if len(trials) != 1 {
		t.Fatalf("%+v", trials)
	}
	if left := l.dropTrials(trials, pausedTopics([]string{"t"})); len(left) != 0 || !relay.suspended.beginTrial("t") {
		t.Errorf("%+v", left)
	}
}

// An answer that was long on its way does not undo what a later one has said.
func TestPausesIgnoreOldNews(t *testing.T) {
	var p pauses
	began := time.Now()
	if !p.saw(pausedTopics([]string{"t"}), began) || p.saw(paused{}, began.Add(-time.Second)) || !p.now().stops("t") {
		t.Errorf("%+v", p.now())
	}
	if p.saw(pausedTopics([]string{"t"}), began.Add(time.Second)) || !p.saw(paused{}, began.Add(2*time.Second)) || p.now().any() {
		t.Errorf("%+v", p.now())
	}
}
