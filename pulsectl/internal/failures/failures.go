// Package failures puts the messages of an outbox that the broker refuses, or cannot
// take, into groups by what it said.
package failures

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/errorgroup"
)

const (
	// Most is how many messages are looked at, the oldest first.
	Most = 100_000
	// shown is how many keys and topics a group names.
	shown = 10
	// maxGroups bounds the groups: what comes after goes into the one that is named Other.
	maxGroups = 1000
	// Other is the Error of that group.
	Other = "(other errors)"
)

// Group are messages that failed for the same reason.
type Group struct {
	Error          string // normalised: numbers, ids and quoted parts are folded
	Count          int
	Dead, Retrying int
	// First and Last are when the first and the last of these messages failed, each the
	// last time so far; zero: they do not tell.
	First, Last time.Time
	Topics      []string // the first ten
	BlockedKeys int      // keys whose later messages wait for one of these
	Keys        []string // the first ten of these keys
	Example     outbox.Record

	keys map[string]struct{}
}

// Report is what Read has found.
type Report struct {
	Groups []Group // the largest first
	Failed int     // messages looked at
	More   bool    // there are others: only the first Most were looked at
}

// Read groups the dead and retrying messages that match the filters of q; its
// Statuses may choose Dead, or with Retrying the retrying ones.
func Read(ctx context.Context, ob *outbox.Outbox, q outbox.ListQuery) (Report, error) {
	q.After, q.Limit, q.OldestFirst, q.WithoutPayload = 0, outbox.MaxLimit, true, true
	dead, retrying := q, q
	dead.Statuses, retrying.Retrying = []outbox.Status{outbox.Dead}, true
	parts := []outbox.ListQuery{dead, retrying}
	switch {
	case q.Retrying:
		parts = parts[1:]
	case len(q.Statuses) > 0:
		parts = parts[:1]
	}
	r, groups := Report{}, make(map[string]*Group)
	for _, part := range parts {
		for {
			page, err := ob.List(ctx, part)
			if err != nil {
				return Report{}, err
			}
			for _, record := range page.Records {
				if r.Failed == Most {
					r.More = true
					break
				}
				r.Failed++
				groupOf(groups, record).add(record)
			}
			if part.After = page.Next; page.Next == 0 || r.More {
				break
			}
		}
	}
	for _, g := range groups {
		g.BlockedKeys = len(g.keys)
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Error, b.Error))
	})
	return r, nil
}

func groupOf(groups map[string]*Group, r outbox.Record) *Group {
	name := errorgroup.Normalise(r.LastError)
	if groups[name] == nil && len(groups) >= maxGroups {
		name = Other
	}
	g := groups[name]
	if g == nil {
		g = &Group{Error: name, Example: r, keys: make(map[string]struct{})}
		groups[name] = g
	}
	return g
}

func (g *Group) add(r outbox.Record) {
	g.Count++
	if r.Status == outbox.Dead {
		g.Dead++
	} else {
		g.Retrying++
	}
	if at := r.FailedAt; !at.IsZero() {
		if g.First.IsZero() || at.Before(g.First) {
			g.First = at
		}
		if at.After(g.Last) {
			g.Last = at
		}
	}
	if len(g.Topics) < shown && !slices.Contains(g.Topics, r.Topic) {
		g.Topics = append(g.Topics, r.Topic)
	}
	if r.Key == "" { // blocks nothing
		return
	}
	if _, known := g.keys[r.Key]; !known {
		g.keys[r.Key] = struct{}{}
		if len(g.Keys) < shown {
			g.Keys = append(g.Keys, r.Key)
		}
	}
}
