package outbox

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var errUnreachable = errors.New("connection refused")

// path is the way of one relay to the broker.
type path struct {
	Publisher
	cut   atomic.Bool
	hangs bool // calls end with their context only, while the path is cut
}

func (p *path) Publish(ctx context.Context, msgs []Message) []error {
	if !p.cut.Load() {
		return p.Publisher.Publish(ctx, msgs)
	}
	if p.hangs {
		<-ctx.Done()
	}
	return fillErrors(len(msgs), Unavailable(errUnreachable))
}

func (p *path) ping() error {
	if p.cut.Load() {
		return errUnreachable
	}
	return nil
}

// standbySettings are those of relays that stand by after two seconds.
func standbySettings(owner string) RelayConfig {
	cfg := sharing(owner)
	cfg.LeaseTTL = 6 * time.Second
	return cfg
}

// A relay that reaches the database and not the broker leaves its buckets to
// one that reaches both, says so, and takes its share again when it can.
func TestRelayStandbyLeavesItsBuckets(t *testing.T) {
	t.Parallel() // it waits
	for _, c := range []struct {
		name          string
		pinger, hangs bool
	}{{"Pinger", true, false}, {"calls hang", true, true}, {"no Pinger", false, false}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			eachDatabase(t, func(t *testing.T, d database) {
				ob, db := d.newOutbox(t)
				b := &broker{}
				cutOff := &path{Publisher: b, hangs: c.hangs}
				var p Publisher = cutOff
				if c.pinger {
					p = pinged{cutOff, cutOff.ping}
				}
				lame, well := newRelay(t, ob, p, standbySettings("a")), newRelay(t, ob, b, standbySettings("b"))
				start(t, lame)
				start(t, well)
				awaitLeases(t, map[*Relay]int{lame: 32, well: 32})
				cutOff.cut.Store(true)
				enqueue(t, ob, topical("t", 200)...)
				eventually(t, "it to stand by", func() bool { return lame.monitor.cause(partStandby) != nil })
				awaitLeases(t, map[*Relay]int{lame: 0, well: 64})
				eventually(t, "everything to be published", func() bool { return b.count() == 200 })
				if h := lame.Health(); h.State != RelayDegraded || !errors.Is(h.LastError, errUnreachable) || !strings.Contains(h.LastError.Error(), "left to other relays") {
					t.Errorf("health %+v", h)
				}
				if h := well.Health(); h.State != RelayRunning {
					t.Errorf("health of the other %+v", h)
				}
				if relays, err := ob.Relays(t.Context()); err != nil || len(relays) != 2 || relays[0].Live || !relays[1].Live {
					t.Errorf("relays %+v, %v", relays, err)
				}
				wantNoAttempts(t, db)

				cutOff.cut.Store(false)
				awaitLeases(t, map[*Relay]int{lame: 32, well: 32})
				eventually(t, "the relay to recover", func() bool { return lame.Health().State == RelayRunning })
				enqueue(t, ob, topical("u", 200)...)
				eventually(t, "everything to be published", func() bool { return lame.Health().Published+well.Health().Published == 400 })
				if lame.Health().Published == 0 {
					t.Error("the relay that was cut off does nothing")
				}
				if n := b.count(); n != 400 {
					t.Errorf("%d messages were taken, want 400", n)
				}
			})
		})
	}
}

// When no relay reaches the broker, none takes buckets from another; the first
// that reaches it again gets them all.
func TestRelayStandbyKeepsBucketsIfNoRelayReachesTheBroker(t *testing.T) {
	t.Parallel() // it waits
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		b := &broker{}
		paths := []*path{{Publisher: b}, {Publisher: b}}
		relays := make([]*Relay, len(paths))
		for i, p := range paths {
			relays[i] = newRelay(t, ob, pinged{p, p.ping}, standbySettings(string('a'+rune(i))))
			start(t, relays[i])
		}
		awaitLeases(t, map[*Relay]int{relays[0]: 32, relays[1]: 32})
		for _, p := range paths {
			p.cut.Store(true)
		}
		msgs := topical("t", 200)
		enqueue(t, ob, msgs...)
		eventually(t, "both to stand by", func() bool {
			return relays[0].monitor.cause(partStandby) != nil && relays[1].monitor.cause(partStandby) != nil
		})
		// What one still had to hand over it has.
		settled := func() int { return number(t, db, `SELECT sum(token % 1000003) FROM outbox_leases`) }
		tokens, tries := settled(), relays[0].outage.tries()+relays[1].outage.tries()
		eventually(t, "some more tries", func() bool { return relays[0].outage.tries()+relays[1].outage.tries() >= tries+4 })
		if n := settled(); n != tokens {
			t.Errorf("%d leases moved", n-tokens)
		}
		paths[1].cut.Store(false)
		awaitLeases(t, map[*Relay]int{relays[0]: 0, relays[1]: 64})
		eventually(t, "everything to be published", func() bool { return relays[1].Health().Published == 200 })
		paths[0].cut.Store(false)
		awaitLeases(t, map[*Relay]int{relays[0]: 32, relays[1]: 32})
		wantNoAttempts(t, db)
	})
}

// A publisher that answers to pings and does not publish: the relay takes part
// again more and more rarely.
func TestRelayStandbyTriesMoreAndMoreRarely(t *testing.T) {
	ob, _ := postgres.newOutbox(t)
	relay := newRelay(t, ob, pinged{&broker{}, func() error { return nil }}, standbySettings("a"))
	k := relay.leases
	var pauses []time.Duration
	for range 8 {
		relay.outage.begin()
		k.beginStandby(t.Context(), time.Second)
		pauses = append(pauses, time.Until(k.standby.retryAt).Round(time.Second))
		k.endStandby(t.Context())
	}
	for i, want := range []time.Duration{0, 12, 24, 48, 60, 60, 60, 60} {
		if pauses[i] != want*time.Second {
			t.Errorf("pauses %v", pauses)
			break
		}
	}
	relay.outage.answered()
	k.beginStandby(t.Context(), time.Second)
	if pause := time.Until(k.standby.retryAt); pause > 0 {
		t.Errorf("after a verdict: a pause of %v", pause)
	}
}
