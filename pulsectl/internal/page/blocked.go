package page

import (
	"context"
	"net/http"
	"net/url"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/failures"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
)

const (
	// blockedShown limits the keys that are listed.
	blockedShown = 25
	// blockedRead limits the failed messages that are read to find their keys.
	blockedRead = 500
	// blockedBound is up to how many messages behind a key are counted.
	blockedBound = 1000
)

// blockedKey is an ordering key whose messages wait for one that has failed.
type blockedKey struct {
	Failed  outbox.Record
	Waiting string // how many wait behind it
}

// Query selects the key's messages in the outbox.
func (k blockedKey) Query() string { return "?" + url.Values{"key": {k.Failed.Key}}.Encode() }

type blockedData struct {
	Keys  []blockedKey
	Total outbox.Count // of all keys with a failed message
	More  bool         // there are others than Keys
	// Errors are why messages have failed, those without a key too.
	Errors failures.Report
}

func (h *Handler) blocked(r *http.Request) (view, error) {
	v := view{template: "blocked", title: "Errors and blocked keys"}
	if err := h.parameters(r).check(); err != nil {
		return v, err
	}
	d := blockedData{}
	if v.failed = h.readBlocked(r.Context(), &d); v.failed == nil {
		v.failed = h.readErrors(r.Context(), &d)
	}
	v.data = d
	return v, nil
}

func (h *Handler) readErrors(ctx context.Context, d *blockedData) error {
	ob, err := h.cfg.Servers.Outbox(ctx)
	if err != nil {
		return err
	}
	d.Errors, err = failures.Read(ctx, ob, outbox.ListQuery{})
	return fail.Wrap("cannot group the errors", err)
}

func (h *Handler) readBlocked(ctx context.Context, d *blockedData) error {
	ob, err := h.cfg.Servers.Outbox(ctx)
	if err != nil {
		return err
	}
	stats, err := ob.Stats(ctx)
	if err != nil {
		return fail.Wrap("cannot count the outbox", err)
	}
	d.Total = stats.BlockedKeys
	var failed []outbox.Record
	for _, q := range []outbox.ListQuery{{Statuses: []outbox.Status{outbox.Dead}}, {Retrying: true}} {
		q.OldestFirst, q.WithoutPayload, q.Limit = true, true, blockedRead
		page, err := ob.List(ctx, q)
		if err != nil {
			return fail.Wrap("cannot list the outbox", err)
		}
		failed = append(failed, page.Records...)
		d.More = d.More || page.Next != 0
	}
	seen := map[string]bool{"": true} // without a key nothing waits
	for _, rec := range failed {
		if seen[rec.Key] {
			continue
		}
		seen[rec.Key] = true
		if len(d.Keys) == blockedShown {
			d.More = true
			break
		}
		d.Keys = append(d.Keys, blockedKey{Failed: rec})
	}
	for i := range d.Keys {
		k := &d.Keys[i]
		pending := outbox.ListQuery{Key: k.Failed.Key, Statuses: []outbox.Status{outbox.Pending}}
		n, more, err := ob.Count(ctx, pending, blockedBound)
		if err != nil {
			return fail.Wrap("cannot count what waits", err)
		}
		if k.Failed.Status == outbox.Pending {
			n-- // itself
		}
		k.Waiting = overview.Bounded(int64(max(0, n)), !more)
	}
	return nil
}
