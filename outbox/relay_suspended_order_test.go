package outbox

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// Messages of other topics wait behind those of a silent one in their keys, in
// front of the cursor as well as behind it, and none elsewhere.
func TestRelaySuspendedTopicBlocksItsKeys(t *testing.T) {
	eachPublisher(t, func(t *testing.T, d database, wrap func(Publisher) Publisher) {
		ob, db := d.newOutbox(t)
		p := newPartial("silent")
		const keys = 30
		round := func(topic string) {
			var msgs []Message
			for k := range keys {
				m := NewMessage(topic, nil)
				m.Key = fmt.Sprintf("key-%d", k)
				msgs = append(msgs, m)
			}
			enqueue(t, ob, msgs...)
		}
		round("first")
		round("silent")
		round("third")
		cfg := patient()
		cfg.BatchSize = 10
		relay := newRelay(t, ob, wrap(p), cfg)
		start(t, relay)
		awaitPublished(t, relay, keys)
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
		round("fourth")
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
		if n := number(t, db, `SELECT count(*) FROM outbox_messages WHERE status = 'published' AND key <> ''`); n != keys {
			t.Errorf("%d messages of keys are published, want %d", n, keys)
		}
		eventually(t, "all that waits to be counted", func() bool { return relay.Health().Suspended[0].Waiting == 3*keys })

		p.setSilent(false, "silent")
		awaitPublished(t, relay, 4*keys+2)
		inOrder(t, p.taken)
		for k := range keys {
			wantTopics(t, keysTopics(&p.broker, fmt.Sprintf("key-%d", k)), []string{"first", "silent", "third", "fourth"})
		}
		wantNoAttempts(t, db)
	})
}

// Somebody discards what waits: what it held back goes out.
func TestRelaySuspendedTopicDiscardFreesAKey(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		p := newPartial("k.0")
		msgs := keyed("k", 3)
		enqueue(t, ob, msgs...)
		relay := newRelay(t, ob, pinged{p, func() error { return nil }}, patient())
		start(t, relay)
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
		if _, err := ob.Discard(t.Context(), "not wanted", msgs[0].ID); err != nil {
			t.Fatal(err)
		}
		awaitStatus(t, ob, Published, msgs[1:]...)
		wantTopics(t, keysTopics(&p.broker, "k"), []string{"k.1", "k.2"})
	})
}

// A row that a transaction of long adds behind the cursor, before others of its
// key that wait: it goes out, and first.
func TestRelaySuspendedTopicBehindALongTransaction(t *testing.T) {
	ob, _ := postgres.newOutbox(t)
	p := newPartial("k.1")
	cfg := patient()
	cfg.Lanes = 1
	relay := newRelay(t, ob, pinged{p, func() error { return nil }}, cfg)
	start(t, relay)
	msgs := keyed("k", 3)
	slow := ob.db.MustBegin()
	defer slow.Rollback()
	if err := ob.Enqueue(t.Context(), slow, msgs[0]); err != nil {
		t.Fatal(err)
	}
	enqueue(t, ob, msgs[1])
	awaitStatus(t, ob, Published, passCursors(t, ob, relay))
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, ob, Published, msgs[0])
	enqueue(t, ob, msgs[2])
	awaitStatus(t, ob, Published, passCursors(t, ob, relay))
	p.setSilent(false, "k.1")
	awaitStatus(t, ob, Published, msgs...)
	wantTopics(t, keysTopics(&p.broker, "k"), topicsOf("k", 3))
}

// Topics fall silent and come back at random, messages are refused, and
// transactions stay open for moments: of each key every message goes out once,
// and in order, and no attempt is counted but those refused.
func TestRelayKeepsOrderWhileTopicsAreSuspended(t *testing.T) {
	eachPublisher(t, func(t *testing.T, d database, wrap func(Publisher) Publisher) {
		const keys, each, topics = 12, 20, 4
		ob, db := d.newOutbox(t)
		random, luck := rand.New(rand.NewPCG(3, 4)), rand.New(rand.NewPCG(5, 6))
		p := newPartial()
		judge := p.judge
		refused := 0
		p.judge = func(m Message) error {
			err := judge(m)
			if err == nil && luck.IntN(20) == 0 {
				refused++
				return Rejected(nil)
			}
			return err
		}
		cfg := patient()
		cfg.BatchSize, cfg.Grace = 16, 20*time.Millisecond
		relay := newRelay(t, ob, wrap(p), cfg)
		start(t, relay)
		for i := range each {
			var msgs []Message
			for k := range keys {
				m := NewMessage(fmt.Sprintf("t.%d", random.IntN(topics)), fmt.Appendf(nil, "%d", i))
				m.Key = fmt.Sprintf("key-%d", k)
				msgs = append(msgs, m)
			}
			keyless := NewMessage("keyless", nil)
			enqueue(t, ob, append(msgs, keyless)...)
			p.setSilent(random.IntN(3) > 0, fmt.Sprintf("t.%d", random.IntN(topics)))
			awaitStatus(t, ob, Published, keyless)
		}
		for i := range topics {
			p.setSilent(false, fmt.Sprintf("t.%d", i))
		}
		const total = each * (keys + 1)
		awaitPublished(t, relay, total)
		if n := p.count(); n != total {
			t.Errorf("%d messages were taken for %d rows", n, total)
		}
		inOrder(t, p.taken)
		if n := number(t, db, `SELECT coalesce(sum(attempts), 0) FROM outbox_messages`); n != refused {
			t.Errorf("%d attempts are counted for %d refusals", n, refused)
		}
	})
}

// What is tried of a silent topic is not overtaken, nor does it overtake a row
// that has appeared before it.
func TestRelayProbeWaitsForEarlierRows(t *testing.T) {
	ob, _ := postgres.newOutbox(t)
	p := newPartial("silent")
	relay := newRelay(t, ob, pinged{p, func() error { return nil }}, patient())
	lane, own := relay.lanes[0], lease{Bucket: 3, Token: 1}
	relay.leases.own[3] = &ownLease{lease: own, lane: lane, until: time.Now().Add(time.Hour)}
	lane.add(own)
	silent := map[string]bool{"silent": true}
	row := func(seq int64, topic, key string) *outgoing {
		return &outgoing{Message: Message{Seq: seq, Topic: topic, Key: key}, bucket: 3}
	}
	for _, c := range []struct {
		name string
		rows []*outgoing
		want int // probes
	}{
		{"it is the first", []*outgoing{row(10, "silent", "k")}, 1},
		{"another key is before it", []*outgoing{row(5, "well", "l"), row(10, "silent", "k")}, 1},
		{"its key is before it", []*outgoing{row(5, "well", "k"), row(10, "silent", "k")}, 0},
		{"its key waits before it", []*outgoing{row(4, "silent", "k"), row(10, "silent", "k")}, 0},
		{"without a key", []*outgoing{row(5, "well", ""), row(10, "silent", "")}, 1},
	} {
		lane.buckets[3].held = nil
		plan := lane.plan(t.Context(), page{rows: c.rows, spans: map[int]span{3: {lease: own}}}, silent, []trial{{"silent", []int64{10}}})
		probes := 0
		if lane.probe != nil {
			probes = len(lane.probe.page.rows)
			lane.probe.cancel()
			<-lane.probe.done
			lane.probe = nil
		}
		planned := 0
		for _, fate := range plan.fates {
			if fate == tried {
				planned++
			}
		}
		if probes != c.want || planned != c.want {
			t.Errorf("%s: %d are tried, %d of %d are planned to be", c.name, probes, planned, len(c.rows))
		}
	}
}

// What is being tried is not sent beside that, although its topic gets verdicts
// again.
func TestRelayProbeKeepsItsRows(t *testing.T) {
	ob, _ := file.newOutbox(t)
	lane := newRelay(t, ob, &broker{}, patient()).lanes[0]
	row := func(seq int64) *outgoing { return &outgoing{Message: Message{Seq: seq, Topic: "t"}} }
	lane.probe = &probe{page: page{rows: []*outgoing{row(10)}}}
	plan := lane.plan(t.Context(), page{rows: []*outgoing{row(9), row(10), row(11)}}, nil, nil)
	for i, row := range plan.rows {
		if waits := plan.fates[i] != toSend; waits != (row.Seq == 10) {
			t.Errorf("row %d waits: %t", row.Seq, waits)
		}
	}
}
