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
)

var errSilent = errors.New("no confirm in time")

// partial is a broker that gives no verdicts on some topics.
type partial struct {
	broker
	mu     sync.Mutex
	silent map[string]bool
}

func newPartial(silent ...string) *partial {
	p := &partial{silent: make(map[string]bool)}
	p.setSilent(true, silent...)
	p.judge = func(m Message) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.silent[m.Topic] {
			return Unavailable(errSilent)
		}
		return nil
	}
	return p
}

func (p *partial) setSilent(silent bool, topics ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, topic := range topics {
		p.silent[topic] = silent
	}
}

// pinged is a publisher that says whether its broker answers.
type pinged struct {
	Publisher
	ping func() error
}

func (p pinged) Ping(context.Context) error { return p.ping() }

// eachPublisher runs test with a publisher as it is and with one that says that
// its broker answers, on every database.
func eachPublisher(t *testing.T, test func(t *testing.T, d database, wrap func(Publisher) Publisher)) {
	eachDatabase(t, func(t *testing.T, d database) {
		t.Run("Pinger", func(t *testing.T) {
			test(t, d, func(p Publisher) Publisher { return pinged{p, func() error { return nil }} })
		})
		t.Run("no Pinger", func(t *testing.T) { test(t, d, func(p Publisher) Publisher { return p }) })
	})
}

// topical returns n messages of a topic, each of another key.
func topical(topic string, n int) (msgs []Message) {
	for i := range n {
		m := NewMessage(topic, nil)
		m.Key = fmt.Sprintf("%s-%d", topic, i)
		msgs = append(msgs, m)
	}
	return msgs
}

func awaitPublished(t *testing.T, relay *Relay, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages to be published", n), func() bool { return relay.Health().Published == int64(n) })
}

func wantNoAttempts(t *testing.T, db *sqlx.DB) {
	t.Helper()
	if n := number(t, db, `SELECT count(*) FROM outbox_messages WHERE attempts > 0 OR last_error <> ''`); n != 0 {
		t.Errorf("%d messages are blamed for the broker", n)
	}
}

// One topic gets no verdicts: others flow past its backlog, which counts no
// attempt, is told of, and drains by itself when there are verdicts again.
func TestRelaySuspendedTopicBlocksNoOther(t *testing.T) {
	eachPublisher(t, func(t *testing.T, d database, wrap func(Publisher) Publisher) {
		ob, db := d.newOutbox(t)
		p := newPartial("silent")
		enqueue(t, ob, topical("silent", 200)...)
		enqueue(t, ob, topical("well", 100)...)
		cfg := patient()
		cfg.BatchSize = 20
		relay := newRelay(t, ob, wrap(p), cfg)
		start(t, relay)
		awaitPublished(t, relay, 100)
		eventually(t, "all that waits to be counted", func() bool {
			h := relay.Health()
			return len(h.Suspended) == 1 && h.Suspended[0].Waiting == 200
		})
		h := relay.Health()
		if s := h.Suspended[0]; s.Topic != "silent" || s.Since.IsZero() || !strings.Contains(s.Reason, errSilent.Error()) {
			t.Errorf("suspended %+v", s)
		}
		if h.State != RelayDegraded || !errors.Is(h.LastError, errSilent) || !strings.Contains(h.LastError.Error(), "silent is suspended") {
			t.Errorf("health %+v", h)
		}
		passCursors(t, ob, relay)
		later := topical("later", 50)
		enqueue(t, ob, later...)
		awaitStatus(t, ob, Published, later...)
		wantNoAttempts(t, db)
		if n := relay.outage.tries(); n != 0 {
			t.Errorf("an outage of the whole broker is seen, %d times", n)
		}

		p.setSilent(false, "silent")
		awaitPublished(t, relay, 351)
		eventually(t, "the relay to recover", func() bool {
			h := relay.Health()
			return h.State == RelayRunning && len(h.Suspended) == 0
		})
		wantNoAttempts(t, db)
		if n := p.count(); n != 351 {
			t.Errorf("%d messages were taken, want 351", n)
		}
	})
}

// While a topic is silent, few of its messages are tried.
func TestRelaySuspendedTopicIsTriedSparingly(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		p := newPartial("silent")
		silent := topical("silent", 300)
		enqueue(t, ob, silent...)
		cfg := patient()
		cfg.Lanes, cfg.BatchSize = 1, 20
		relay := newRelay(t, ob, pinged{p, func() error { return nil }}, cfg)
		start(t, relay)
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
		tries := func() (n int) {
			for _, m := range silent {
				n += p.triesOf(m)
			}
			return n
		}
		before := tries()
		if before > cfg.BatchSize+3*maxProbes {
			t.Errorf("%d messages were tried to find the topic silent, want about a batch of %d", before, cfg.BatchSize)
		}
		eventually(t, "further tries", func() bool { return tries() > before })
	})
}

// A read brings what waits without its payload, but for what is to be tried.
func TestRelaySuspendedTopicIsReadWithoutPayload(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		var msgs []Message
		for i, topic := range []string{"silent", "well", "silent", "other"} {
			msgs = append(msgs, Message{Topic: topic, Payload: []byte(topic), Key: fmt.Sprint(i)})
		}
		enqueue(t, ob, msgs...)
		relay := newRelay(t, ob, &broker{}, patient())
		var asks []ask
		for n := range buckets {
			asks = append(asks, ask{Place: n, lease: lease{Bucket: n}, Interventions: -1})
		}
		b, err := relay.lanes[0].query(t.Context(), asks, 100, 100, map[string]bool{"silent": true, "other": true}, []trial{{"silent", []int64{3}}})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range b.rows {
			got = append(got, string(row.Payload))
		}
		if want := []string{"", "well", "silent", ""}; !slices.Equal(got, want) {
			t.Errorf("payloads %q, want %q", got, want)
		}
	})
}

// A row that a sweep offers and that is to be tried as well is read once.
func TestRelayReadsARowNamedTwiceOnce(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, _ := d.newOutbox(t)
		enqueue(t, ob, Message{Topic: "silent"})
		lane := newRelay(t, ob, &broker{}, patient()).lanes[0]
		var asks []ask
		for n := range buckets {
			asks = append(asks, ask{Place: n, lease: lease{Bucket: n}, Cursor: 1}) // which has passed it
		}
		lane.strays[1] = struct{}{}
		b, err := lane.query(t.Context(), asks, 100, 100, map[string]bool{"silent": true}, []trial{{"silent", []int64{1}}})
		if err != nil || len(b.rows) != 1 {
			t.Errorf("%d rows, %v, want one", len(b.rows), err)
		}
	})
}

// A publisher whose calls with a silent topic last delays others once, and not
// with every try.
func TestRelayProbeDelaysNothing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		release := make(chan struct{})
		var once sync.Once
		b := &broker{}
		tries := make(chan []Message, 100)
		slow := publisherFunc(func(ctx context.Context, msgs []Message) []error {
			if !slices.ContainsFunc(msgs, func(m Message) bool { return m.Topic == "silent" }) {
				return b.Publish(ctx, msgs)
			}
			first := false
			once.Do(func() { first = true })
			if !first { // the first finds out, all others hang
				tries <- msgs
				select {
				case <-release:
					return b.Publish(ctx, msgs)
				case <-ctx.Done():
				}
			}
			return fillErrors(len(msgs), Unavailable(errSilent))
		})
		enqueue(t, ob, topical("silent", 5)...)
		cfg := patient()
		cfg.Lanes = 1
		relay := newRelay(t, ob, pinged{slow, func() error { return nil }}, cfg)
		start(t, relay)
		<-tries // hangs from now on
		for i := range 5 {
			m := NewMessage(fmt.Sprintf("well.%d", i), nil)
			enqueue(t, ob, m)
			awaitStatus(t, ob, Published, m)
		}
		close(release)
		awaitPublished(t, relay, 10)
		wantNoAttempts(t, db)
	})
}

// Run does not wait for a try that hangs.
func TestRelayShutdownEndsProbes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		hangs := make(chan struct{}, 100)
		var relay *Relay
		hanging := publisherFunc(func(ctx context.Context, msgs []Message) []error {
			if len(relay.Health().Suspended) > 0 { // all that is sent now is tries
				hangs <- struct{}{}
				<-ctx.Done()
			}
			return fillErrors(len(msgs), Unavailable(errSilent))
		})
		enqueue(t, ob, topical("silent", 200)...)
		cfg := patient()
		cfg.Lanes = 1
		relay = newRelay(t, ob, pinged{hanging, func() error { return nil }}, cfg)
		stop := start(t, relay)
		<-hangs
		stop()
		if n := number(t, db, `SELECT count(*) FROM outbox_leases WHERE owner <> ''`); n != 0 {
			t.Errorf("%d leases were not released", n)
		}
		wantNoAttempts(t, db)
	})
}

// Retries and delayed messages of a silent topic, more than the lanes take at
// once, are not in the way of others that become due.
func TestRelaySuspendedTopicWithDueMessages(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		p := newPartial("silent")
		cfg := patient()
		cfg.BatchSize = 10
		enqueue(t, ob, topical("silent", 100)...)
		db.MustExec(`UPDATE outbox_messages SET attempts = 1, available_at = ` + clock(db, "-1 hour"))
		relay := newRelay(t, ob, pinged{p, func() error { return nil }}, cfg)
		start(t, relay)
		awaitStatus(t, ob, Published, passCursors(t, ob, relay))
		late := Message{Topic: "late", AvailableAt: databaseClock(t, ob).Add(300 * time.Millisecond)}
		enqueue(t, ob, late)
		eventually(t, "the delayed message to be published", func() bool { return slices.Contains(p.topics(), "late") })
		p.setSilent(false, "silent")
		awaitPublished(t, relay, 102)
	})
}

// The buckets of a relay go to another while one of its topics is silent.
func TestRelaySuspendedTopicDuringRebalancing(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		p := newPartial("silent")
		enqueue(t, ob, topical("silent", 100)...)
		pinger := pinged{p, func() error { return nil }}
		a, b := newRelay(t, ob, pinger, sharing("a")), newRelay(t, ob, pinger, sharing("b"))
		start(t, a)
		eventually(t, "all that waits to be counted", func() bool {
			h := a.Health()
			return len(h.Suspended) == 1 && h.Suspended[0].Waiting == 100
		})
		start(t, b)
		awaitLeases(t, map[*Relay]int{a: 32, b: 32})
		eventually(t, "both to see what waits", func() bool {
			first, second := a.Health().Suspended, b.Health().Suspended
			return len(first) == 1 && len(second) == 1 && first[0].Waiting+second[0].Waiting == 100
		})
		p.setSilent(false, "silent")
		eventually(t, "everything to be published", func() bool {
			return number(t, db, `SELECT count(*) FROM outbox_messages WHERE status = 'published'`) == 100
		})
		wantNoAttempts(t, db)
	})
}
