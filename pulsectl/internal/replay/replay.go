// Package replay publishes the messages of a selection once more, and says what
// has become of the copies.
package replay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

const (
	window       = 500 // copies that are published at once
	publishLimit = 30 * time.Second
	lookAgain    = 200 * time.Millisecond
	lookUpSize   = 1000
	// maxFollowed is of how many copies, that are not duplicates, the outcome is
	// waited for.
	maxFollowed = 100_000
	maxReasons  = 10
)

// Run is a replay of what an outbox has published.
type Run struct {
	Outbox    *outbox.Outbox
	Publisher outbox.Publisher
	Inbox     *inbox.Inbox // of the consumer; nil: outcomes are not known
	// DeadLetters calls each with the ids of the messages that were dead-lettered
	// since a moment. Nil: not looked at.
	DeadLetters func(ctx context.Context, since time.Time, each func(id string)) error
	// Query selects messages; its statuses, order and limit are ignored.
	Query outbox.ListQuery
	Limit int       // at most so many messages; 0: all
	Rate  int       // at most so many in a second; 0: as many as there can be
	Since time.Time // messages published before are refused; zero: none
	// Wait is how long outcomes are waited for.
	Wait   time.Duration
	DryRun bool
	// Record is called with the ids before they are published.
	Record func(ctx context.Context, ids []string) error
	// Save is called when everything up to Result.After has been published. Whoever
	// is killed goes on there: what was published since is published again.
	Save func(Result) error
}

// Result is what a run has done so far.
type Result struct {
	After     int64 // Query.After of a run that goes on behind this one
	Events    int   // that were looked at
	Published int
	Failed    int // that the broker did not take
	Refused   int // that are too old
	// What became of those that were published, if there is an inbox.
	Applied      int
	Duplicates   int // that were applied before, and so are skipped
	DeadLettered int
	Unsettled    int     // neither when the wait was over
	Reasons      []error // the first of failed and refused ones
}

// ErrAway means that the broker takes nothing.
var ErrAway = errors.New("the broker is away")

// Do runs until everything is published, ctx ends, or the broker is away, and
// returns what was done by then.
func (r Run) Do(ctx context.Context) (Result, error) {
	p := &progress{Run: r, begun: time.Now(), open: make(map[string]bool)}
	p.result.After = r.Query.After
	err := p.all(ctx)
	if err == nil && !r.DryRun && r.Inbox != nil {
		err = p.follow(ctx)
	}
	return p.result, err
}

type progress struct {
	Run
	begun  time.Time
	result Result
	open   map[string]bool // published, and not applied before
}

func (p *progress) all(ctx context.Context) error {
	q := p.Query
	q.Statuses, q.OldestFirst, q.Retrying, q.WithoutPayload = []outbox.Status{outbox.Published}, true, false, p.DryRun
	for {
		q.Limit, q.After = window, p.result.After
		if p.Rate > 0 {
			q.Limit = min(q.Limit, max(1, p.Rate/5))
		}
		if p.Limit > 0 {
			q.Limit = min(q.Limit, p.Limit-p.result.Events)
		}
		page, err := p.Outbox.List(ctx, q)
		if err != nil || len(page.Records) == 0 {
			return err
		}
		if err := p.some(ctx, page.Records); err != nil {
			return err
		}
		p.result.After = page.Records[len(page.Records)-1].Seq
		p.result.Events += len(page.Records)
		if p.Save != nil && !p.DryRun {
			if err := p.Save(p.result); err != nil {
				return err
			}
		}
		if page.Next == 0 || p.Limit > 0 && p.result.Events >= p.Limit {
			return nil
		}
		if err := p.pause(ctx); err != nil {
			return err
		}
	}
}

// pause keeps to the rate.
func (p *progress) pause(ctx context.Context) error {
	if p.Rate <= 0 || p.DryRun {
		return ctx.Err()
	}
	due := p.begun.Add(time.Duration(p.result.Published) * time.Second / time.Duration(p.Rate))
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// some publishes the messages of a page.
func (p *progress) some(ctx context.Context, records []outbox.Record) error {
	var msgs []outbox.Message
	var ids []string
	for _, r := range records {
		if !p.Since.IsZero() && r.PublishedAt.Before(p.Since) {
			p.result.Refused++
			p.reason(fmt.Errorf("%s was published %s ago, and inboxes may have forgotten it", r.ID, time.Since(r.PublishedAt).Round(time.Minute)))
			continue
		}
		msgs, ids = append(msgs, r.Message), append(ids, r.ID.String())
	}
	if p.DryRun || len(msgs) == 0 {
		p.result.Published += len(msgs)
		return nil
	}
	var before map[string]bool
	var err error
	if p.Inbox != nil {
		if before, err = p.Inbox.Applied(ctx, ids); err != nil {
			return err
		}
	}
	if p.Record != nil {
		if err := p.Record(ctx, ids); err != nil {
			return err
		}
	}
	limited, cancel := context.WithTimeout(ctx, publishLimit)
	defer cancel()
	var away error
	for i, err := range p.Publisher.Publish(limited, msgs) {
		switch {
		case err == nil:
			p.published(ids[i], before[ids[i]])
			continue
		case errors.Is(err, outbox.ErrUnavailable):
			away = err
		}
		p.result.Failed++
		p.reason(fmt.Errorf("%s: %w", ids[i], err))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if away != nil { // all of the page are published again by whoever goes on
		return fmt.Errorf("%w: %w", ErrAway, away)
	}
	return nil
}

func (p *progress) published(id string, applied bool) {
	p.result.Published++
	switch {
	case p.Inbox == nil:
	case applied:
		p.result.Duplicates++
	case len(p.open) < maxFollowed:
		p.open[id] = true
	default:
		p.result.Unsettled++
	}
}

func (p *progress) reason(err error) {
	if len(p.result.Reasons) < maxReasons {
		p.result.Reasons = append(p.result.Reasons, err)
	}
}

// follow waits until the copies that are no duplicates are applied or dead
// letters.
func (p *progress) follow(ctx context.Context) error {
	unseen := p.result.Unsettled
	deadline := time.Now().Add(p.Wait)
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		if err := p.settle(ctx); err != nil {
			return err
		}
		p.result.Unsettled = unseen + len(p.open)
		if len(p.open) == 0 || time.Now().After(deadline) {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if len(p.open) == 0 || p.DeadLetters == nil {
		return nil
	}
	// The clocks of broker and consumer may differ from ours.
	err := p.DeadLetters(ctx, p.begun.Add(-time.Minute), func(id string) {
		if p.open[id] {
			delete(p.open, id)
			p.result.DeadLettered++
		}
	})
	p.result.Unsettled = unseen + len(p.open)
	return err
}

// settle counts what has been applied.
func (p *progress) settle(ctx context.Context) error {
	ids := make([]string, 0, len(p.open))
	for id := range p.open {
		ids = append(ids, id)
	}
	for some := range slices.Chunk(ids, lookUpSize) {
		applied, err := p.Inbox.Applied(ctx, some)
		if err != nil {
			return err
		}
		for id, yes := range applied {
			if yes {
				delete(p.open, id)
				p.result.Applied++
			}
		}
	}
	return nil
}
