package rabbitmq

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// channel is what a broker knows of unacknowledged tags.
type channel struct {
	unacked []uint64
	frames  []string
	bytes   int // of what is unacked, as unacked counts it
}

func (c *channel) ack(tag uint64, multiple bool) error {
	at := slices.Index(c.unacked, tag)
	switch {
	case at < 0:
		return fmt.Errorf("unknown delivery tag %d", tag)
	case multiple:
		c.frames = append(c.frames, fmt.Sprintf("..%d", tag))
		c.unacked = slices.Delete(c.unacked, 0, at+1)
	default:
		c.frames = append(c.frames, fmt.Sprint(tag))
		c.unacked = slices.Delete(c.unacked, at, at+1)
	}
	return nil
}

// deliver returns the unacked of a channel on which n messages are unsettled, and
// which holds no acknowledgements.
func deliver(n int) (*unacked, *channel) { return deliverWith(n, spareDeliveries) }

func deliverWith(n, prefetch int) (*unacked, *channel) {
	c := &channel{}
	l := newUnacked(prefetch, c.ack, func(bytes int) { c.bytes -= bytes })
	for tag := range uint64(n) {
		l.add(tag+1, 10)
		c.bytes += 10
		c.unacked = append(c.unacked, tag+1)
	}
	return l, c
}

func TestUnackedCoalescesOnlyPrefix(t *testing.T) {
	for _, test := range []struct {
		batches [][]uint64
		frames  string
	}{
		{[][]uint64{{1, 2, 3, 4, 5}}, "..5"},
		{[][]uint64{{5, 4, 3, 2, 1}}, "..5"},
		{[][]uint64{{1}, {2, 3}}, "1 ..3"},
		{[][]uint64{{2, 3}}, "2 3"},
		{[][]uint64{{2}, {4}, {1, 3, 5}}, "2 4 ..5"}, // what lies between is settled
		{[][]uint64{{1, 2, 4, 5}, {3}}, "..2 4 5 3"},
	} {
		l, c := deliver(5)
		for _, batch := range test.batches {
			for _, tag := range batch {
				if !l.reserve(tag) {
					t.Fatalf("%v: tag %d cannot be claimed", test.batches, tag)
				}
			}
			if err := l.settle(batch, c.ack); err != nil {
				t.Fatalf("%v: %v", test.batches, err)
			}
		}
		if got := strings.Join(c.frames, " "); got != test.frames {
			t.Errorf("%v: frames %q, want %q", test.batches, got, test.frames)
		}
	}
}

// Whatever the order, unacked and the broker agree on what is unsettled.
func TestUnackedAgreesWithBroker(t *testing.T) {
	const n = 300
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	l, c := deliver(n)
	tags := slices.Clone(c.unacked)
	random.Shuffle(n, func(i, j int) { tags[i], tags[j] = tags[j], tags[i] })
	for len(tags) > 0 {
		size := min(1+random.IntN(40), len(tags))
		batch := slices.Clone(tags[:size])
		tags = tags[size:]
		for _, tag := range batch {
			if !l.reserve(tag) || l.reserve(tag) {
				t.Fatalf("seed %d: tag %d is not claimed exactly once", seed, tag)
			}
		}
		if err := l.settle(batch, c.ack); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want := slices.Sorted(slices.Values(tags))
		if !slices.Equal(l.tags, want) || !slices.Equal(c.unacked, want) || c.bytes != 10*len(want) {
			t.Fatalf("seed %d: ours %v, the broker's %v, want %v", seed, l.tags, c.unacked, want)
		}
	}
	if len(l.reserved) != 0 {
		t.Errorf("reservations left: %v", l.reserved)
	}
}

// acknowledge reserves and acknowledges.
func acknowledge(t *testing.T, l *unacked, tags ...uint64) {
	t.Helper()
	for _, tag := range tags {
		if !l.reserve(tag) {
			t.Fatalf("tag %d cannot be claimed", tag)
		}
	}
	if err := l.acknowledge(tags); err != nil {
		t.Fatal(err)
	}
}

func TestUnackedHoldsAcknowledgements(t *testing.T) {
	const most = 3
	for _, test := range []struct {
		name    string
		batches [][]uint64
		frames  string
	}{
		{"until those before are there", [][]uint64{{2, 3}, {1}}, "..3"},
		{"and no further", [][]uint64{{2, 5}, {1, 3}}, "..3"},
		{"three at most", [][]uint64{{2, 3, 4}, {5}}, "2 3 4 5"},
		{"but what is first", [][]uint64{{1, 2, 4, 5}}, "..2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, c := deliverWith(6, spareDeliveries+most)
				defer l.kill()
				for _, batch := range test.batches {
					acknowledge(t, l, batch...)
				}
				if got := strings.Join(c.frames, " "); got != test.frames {
					t.Errorf("frames %q, want %q", got, test.frames)
				}
				if l.reserve(2) {
					t.Error("claimed a tag that is acknowledged")
				}
			})
		})
	}
}

// Acknowledgements that wait leave half of a large prefetch to the workers.
func TestUnackedHoldsHalf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that no time passes, however busy the machine is
		const prefetch, most = 800, 400
		l, c := deliverWith(prefetch, prefetch)
		defer l.kill()
		for tag := range uint64(most) {
			acknowledge(t, l, tag+2)
		}
		if len(c.frames) > 0 {
			t.Errorf("%d frames for %d acknowledgements", len(c.frames), most)
		}
		acknowledge(t, l, most+2)
		if len(c.frames) != most+1 {
			t.Errorf("%d frames when there is one more, want all %d", len(c.frames), most+1)
		}
	})
}

func TestUnackedHoldsNothingForLong(t *testing.T) {
	for name, end := range map[string]func(l *unacked){
		"a while":               func(*unacked) { time.Sleep(holdLimit); synctest.Wait() }, // on the bubble's clock
		"the end of deliveries": (*unacked).seal,
		"the end of the link":   (*unacked).kill,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, c := deliverWith(3, 1000)
				defer l.kill()
				acknowledge(t, l, 2)
				l.mu.Lock() // the channel's fields are written under it
				if len(c.frames) != 0 {
					t.Errorf("sent %v at once", c.frames)
				}
				l.mu.Unlock()
				if end(l); !slices.Equal(c.unacked, []uint64{1, 3}) {
					t.Errorf("the broker has unacknowledged: %v", c.unacked)
				}
			})
		})
	}
}

// A nack for what is before must not take along what is held.
func TestUnackedRequeuesNothingHeld(t *testing.T) {
	l, c := deliverWith(3, 1000)
	acknowledge(t, l, 2)
	if l.reserve(1); !l.reserve(3) {
		t.Fatal("cannot be claimed")
	}
	if err := l.settle([]uint64{1, 3}, c.ack); err != nil {
		t.Fatal(err)
	}
	l.seal()
	if got := strings.Join(c.frames, " "); got != "1 3 2" {
		t.Errorf("frames %q", got)
	}
}

func TestUnackedRelease(t *testing.T) {
	l, c := deliver(2)
	isEmpty := func() bool {
		select {
		case <-l.empty:
			return true
		default:
			return false
		}
	}
	if l.reserve(3) {
		t.Error("claimed a tag that was never delivered")
	}
	if l.reserve(1); l.reserve(1) {
		t.Error("claimed twice")
	}
	l.release(1)
	if !l.reserve(1) || !l.reserve(2) {
		t.Error("cannot be claimed")
	}
	if err := l.settle([]uint64{1}, c.ack); err != nil {
		t.Fatal(err)
	}
	if l.reserve(1) {
		t.Error("claimed after it was settled")
	}
	broken := errors.New("broken")
	if err := l.settle([]uint64{2}, func(uint64, bool) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if l.seal(); isEmpty() {
		t.Error("empty with a delivery unsettled")
	}
	if err := l.settle([]uint64{2}, c.ack); err != nil || !isEmpty() {
		t.Errorf("not empty: %v, %v", l.tags, err)
	}
	l, _ = deliver(1)
	if l.kill(); !isEmpty() || l.reserve(1) {
		t.Error("alive after its channel")
	}
}
