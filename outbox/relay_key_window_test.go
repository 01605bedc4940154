package outbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// calls is a publisher that remembers what each call of Publish was given of a key.
type calls struct {
	broker
	mu  sync.Mutex
	all [][]int64
}

func (p *calls) Publish(ctx context.Context, msgs []Message) []error {
	var seqs []int64
	for _, m := range msgs {
		if m.Key == "k" {
			seqs = append(seqs, m.Seq)
		}
	}
	p.mu.Lock()
	p.all = append(p.all, seqs)
	p.mu.Unlock()
	return p.broker.Publish(ctx, msgs)
}

// oneTopic returns n messages of key k and one topic.
func oneTopic(n int) []Message {
	msgs := make([]Message, n)
	for i := range msgs {
		msgs[i] = NewMessage("t", nil)
		msgs[i].Key = "k"
	}
	return msgs
}

// With a window several messages of a key are sent at once. One that is refused holds back
// those that were not, and is published before them.
func TestRelayKeyWindow(t *testing.T) {
	ob, _ := postgres.newOutbox(t)
	msgs := oneTopic(10)
	var refused bool // in the relay's only lane
	p := &calls{broker: broker{judge: func(m Message) error {
		if m.ID == msgs[4].ID && !refused {
			refused = true
			return Rejected(errors.New("queue is full"))
		}
		return nil
	}}}
	enqueue(t, ob, msgs...)
	cfg := patient()
	cfg.KeyWindow, cfg.Lanes = 3, 1
	relay := newRelay(t, ob, p, cfg)
	stop := start(t, relay)
	eventually(t, "everything to be published", func() bool { return relay.Health().Published == 10 })
	stop()
	p.all = slices.DeleteFunc(p.all, func(seqs []int64) bool { return len(seqs) == 0 })
	var taken []int64
	for _, m := range p.taken {
		taken = append(taken, m.Seq)
	}
	first := taken[0]
	for i := range taken {
		taken[i] -= first
	}
	// The sixth was on its way when the fifth was refused; no other was.
	if want := []int64{0, 1, 2, 3, 5, 4, 6, 7, 8, 9}; !slices.Equal(taken, want) {
		t.Errorf("taken as %v, want %v", taken, want)
	}
	for _, seqs := range p.all {
		if len(seqs) > cfg.KeyWindow {
			t.Errorf("%d messages of a key at once: %v", len(seqs), p.all)
		}
	}
	if len(p.all[0]) != cfg.KeyWindow {
		t.Errorf("not as many as may be: %v", p.all)
	}
}

// A broker that goes away in the middle of a window leaves the order as it is, and what is sent
// soon after is sent one by one.
func TestRelayKeyWindowInAnOutage(t *testing.T) {
	ob, _ := postgres.newOutbox(t)
	msgs := oneTopic(12)
	away, was := 0, false
	p := &calls{}
	p.judge = func(m Message) error {
		if m.ID == msgs[4].ID && !was {
			away, was = 2, true // this one and the next
		}
		if away > 0 {
			away--
			return Unavailable(errUnreachable)
		}
		return nil
	}
	enqueue(t, ob, msgs...)
	cfg := patient()
	cfg.KeyWindow, cfg.Lanes, cfg.PublishTimeout = 3, 1, time.Hour
	relay := newRelay(t, ob, p, cfg)
	stop := start(t, relay)
	eventually(t, "everything to be published", func() bool { return relay.Health().Published == 12 })
	stop()
	p.all = slices.DeleteFunc(p.all, func(seqs []int64) bool { return len(seqs) == 0 })
	inOrder(t, p.taken)
	if len(p.taken) != 12 {
		t.Errorf("%d messages taken", len(p.taken))
	}
	for _, seqs := range p.all[2:] {
		if len(seqs) > 1 {
			t.Errorf("%d messages of a key at once after an outage: %v", len(seqs), p.all)
		}
	}
}
