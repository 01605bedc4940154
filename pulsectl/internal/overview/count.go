package overview

import (
	"context"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/reconcile"
)

// CountBound is the highest count of "showing 50 of ...": counting a big table
// is slow.
const CountBound = 10_000

// Bounded formats a number with thousands separators, marked if it is a lower
// bound.
func Bounded(n int64, exact bool) string {
	if !exact {
		return reconcile.Thousands(n) + "+"
	}
	return reconcile.Thousands(n)
}

// Counted is Bounded for a count of the outbox.
func Counted(c outbox.Count) string { return Bounded(c.N, c.Exact) }

// Many formats a number of things: 1 relay, 2 relays.
func Many(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return reconcile.Thousands(n) + " " + thing
}

// Buckets is the number of buckets of an outbox.
const Buckets = 64

// Relays counts the live relays, and the buckets that they publish.
func Relays(ctx context.Context, ob *outbox.Outbox) (alive, served int, err error) {
	all, err := ob.Relays(ctx)
	alive, served = LiveRelays(all)
	return alive, served, err
}

// LiveRelays counts those of the relays that are live, and the buckets that they
// publish.
func LiveRelays(all []outbox.RelayStatus) (alive, served int) {
	for _, r := range all {
		if r.Live {
			alive++
			served += len(r.Buckets)
		}
	}
	return alive, served
}
