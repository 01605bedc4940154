package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// looking is a publisher that has the only lane of a relay look for fresh rows of all
// buckets in each turn: it runs in the lane's goroutine.
type looking struct {
	*broker
	relay *Relay
	first func() // called in the first call
	once  sync.Once
}

func (p *looking) Publish(ctx context.Context, msgs []Message) []error {
	if p.first != nil {
		p.once.Do(p.first)
	}
	lane := p.relay.lanes[0]
	lane.look.next, lane.look.buckets = time.Time{}, buckets
	return p.broker.Publish(ctx, msgs)
}

// newLooking returns a relay of one lane that publishes with p.
func newLooking(t *testing.T, ob *Outbox, p *looking, batch int) *Relay {
	cfg := patient()
	cfg.Lanes, cfg.BatchSize = 1, batch
	p.relay = newRelay(t, ob, p, cfg)
	return p.relay
}

// enqueueBacklog enqueues n messages, each of another key, in one transaction.
func enqueueBacklog(t *testing.T, ob *Outbox, n int) {
	t.Helper()
	msgs := make([]Message, n)
	for i := range msgs {
		msgs[i] = NewMessage("backlog", nil)
		msgs[i].Key = fmt.Sprintf("backlog-%d", i)
	}
	enqueue(t, ob, msgs...)
}

// A message that is enqueued while a backlog of other keys is being published does not wait
// for its end; one whose key is in the backlog waits for its turn.
func TestRelayPublishesFreshMessagesBesideABacklog(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		const half = 400
		ob, _ := d.newOutbox(t)
		of := keyed("k", 2)
		enqueueBacklog(t, ob, half)
		enqueue(t, ob, of[0])
		enqueueBacklog(t, ob, half)
		fresh, keyless := NewMessage("fresh", nil), NewMessage("keyless", nil)
		fresh.Key = "new"
		p := &looking{broker: &broker{}, first: func() { enqueue(t, ob, of[1], fresh, keyless) }}
		relay := newLooking(t, ob, p, 60)
		start(t, relay)
		eventually(t, "everything to be published", func() bool { return relay.Health().Published == 2*half+4 })

		topics := p.topics()
		if len(topics) != 2*half+4 {
			t.Errorf("%d messages were taken for %d rows", len(topics), 2*half+4)
		}
		places := make(map[string]int)
		for _, topic := range []string{"fresh", "keyless", "k.0", "k.1"} {
			places[topic] = slices.Index(topics, topic)
		}
		for _, topic := range []string{"fresh", "keyless"} {
			if places[topic] > half {
				t.Errorf("%s went out behind %d of %d", topic, places[topic], len(topics))
			}
		}
		if places["k.0"] > places["k.1"] {
			t.Errorf("a message went out before an earlier one of its key: %v", places)
		}
	})
}

// A backlog of few keys, more of them all the time, and a broker that refuses at random: nothing
// goes out before what precedes it in its key, and nothing twice.
func TestRelayKeepsOrderBesideABacklog(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		const keys, each = 20, 6
		ob, _ := d.newOutbox(t)
		random := rand.New(rand.NewPCG(3, 4))
		p := &looking{broker: &broker{judge: func(Message) error {
			switch random.IntN(20) {
			case 0:
				return Rejected(errors.New("queue is full"))
			case 1:
				return Unroutable(nil)
			}
			return nil
		}}}
		sizes := rand.New(rand.NewPCG(5, 6))
		var left []int
		for k := range keys {
			left = append(left, slices.Repeat([]int{k}, each)...)
		}
		sizes.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		sent := make([]int, keys)
		some := func(n int) (msgs []Message) {
			for _, k := range left[:min(n, len(left))] {
				m := NewMessage(fmt.Sprintf("t.%d", sent[k]), nil)
				m.Key = fmt.Sprintf("key-%d", k)
				sent[k]++
				msgs = append(msgs, m)
			}
			left = left[len(msgs):]
			return msgs
		}
		enqueue(t, ob, some(keys*each/2)...)
		relay := newLooking(t, ob, p, 12)
		start(t, relay)
		for len(left) > 0 {
			enqueue(t, ob, some(1+sizes.IntN(10))...)
		}
		eventually(t, "everything to be published", func() bool { return relay.Health().Published == keys*each })
		if got := p.count(); got != keys*each {
			t.Errorf("%d messages were taken for %d rows", got, keys*each)
		}
		inOrder(t, p.taken)
	})
}

// What waits for its topic holds back later messages of its key, wherever they are found.
func TestRelayHoldsFreshMessagesBehindASuspendedTopic(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		const half = 150
		ob, _ := d.newOutbox(t)
		of := keyed("k", 2)
		pause(t, ob, "k.0")
		enqueue(t, ob, of[0])
		enqueueBacklog(t, ob, half)
		fresh := NewMessage("fresh", nil)
		fresh.Key = "new"
		p := &looking{broker: &broker{}, first: func() { enqueue(t, ob, of[1], fresh) }}
		relay := newLooking(t, ob, p, 40)
		start(t, relay)
		eventually(t, "all others to be published", func() bool { return relay.Health().Published == half+1 })
		if got := keysTopics(p.broker, "k"); len(got) != 0 {
			t.Errorf("published %v of a key whose first message is paused", got)
		}
		resume(t, ob, "k.0")
		awaitStatus(t, ob, Published, of...)
		wantTopics(t, keysTopics(p.broker, "k"), topicsOf("k", 2))
	})
}
