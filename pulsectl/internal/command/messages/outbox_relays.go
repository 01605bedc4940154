package messages

import (
	"context"
	"strconv"
	"strings"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

var relayColumns = []console.Column[outbox.RelayStatus]{
	{Key: "relay", Value: func(r outbox.RelayStatus) any { return r.Owner }, ID: true},
	{Key: "state", Value: func(r outbox.RelayStatus) any { return relayState(r) }, Tone: relayTone, Keep: 6},
	{Key: "count", Value: func(r outbox.RelayStatus) any { return len(r.Buckets) }, Head: "BUCKETS", Keep: 5},
	{Key: "heldSince", Value: func(r outbox.RelayStatus) any { return r.HeldSince }, Head: "HELD", Keep: 3},
	{Key: "signedAt", Value: func(r outbox.RelayStatus) any { return r.SignedAt }, Head: "SIGN", Keep: 4},
	{Key: "startedAt", Value: func(r outbox.RelayStatus) any { return r.StartedAt }, Head: "STARTED", Keep: 1},
	{Key: "version", Value: func(r outbox.RelayStatus) any { return r.Version }, Keep: 2},
	{Key: "host", Value: func(r outbox.RelayStatus) any { return r.Host }, Wide: true},
	{Key: "buckets", Value: func(r outbox.RelayStatus) any { return ranges(r.Buckets) }, Wide: true},
}

// relayState names what a relay does, as far as its last sign of life tells.
func relayState(r outbox.RelayStatus) string {
	switch {
	case r.Silent:
		return "gone"
	case r.Live:
		return "live"
	}
	return "standby"
}

func relayTone(r outbox.RelayStatus) console.Tone {
	switch {
	case r.Silent:
		return console.Bad
	case r.Live:
		return console.Good
	}
	return console.Warn
}

// ranges formats numbers in order: 0-3,7.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		part := strconv.Itoa(numbers[i])
		if last > i {
			part += "-" + strconv.Itoa(numbers[last])
		}
		parts = append(parts, part)
		i = last + 1
	}
	return strings.Join(parts, ",")
}

func outboxRelays(ctx context.Context, e *env.Env) error {
	var relays []outbox.RelayStatus
	err := fail.Within(ctx, env.LookLimit, func(ctx context.Context) error {
		ob, _, err := e.Outbox(ctx)
		if err != nil {
			return err
		}
		relays, err = ob.Relays(ctx)
		return fail.Wrap("cannot list the relays", err)
	})
	if err != nil {
		return err
	}
	if err := console.RenderList(e.IO, console.List[outbox.RelayStatus]{Columns: relayColumns, Items: relays}); err != nil {
		return err
	}
	if _, served := overview.LiveRelays(relays); served < overview.Buckets && !e.IO.Structured() {
		e.IO.Notef("%d of %d buckets are held by no live relay: their messages stay pending", overview.Buckets-served, overview.Buckets)
	}
	return nil
}
