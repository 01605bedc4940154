package top

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/command/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
)

// part is what is looked at separately, so that one that does not answer does not
// hold up the others.
type part int

// The parts.
const (
	outboxPart part = iota
	inboxPart
	brokerPart
	parts // their number
)

func (p part) String() string { return [...]string{"outbox", "inbox", "broker"}[p] }

const (
	// lookLimit limits one look at a part.
	lookLimit = 5 * time.Second
	// newestRows and newestEvents are how many rows of outbox and inbox each look
	// reads, to count those that the look before has not seen. Their indexes make
	// that cheap on a table of any size.
	newestRows   = 500
	newestEvents = inbox.MaxLimit
)

// sight is the result of one look at a part. One of the pointers is set, unless
// err is.
type sight struct {
	part   part
	at     time.Time // when it was complete
	err    error
	outbox *outboxSight
	inbox  *inboxSight
	queues *overview.Queues
}

type outboxSight struct {
	overview.Outbox
	newest []outbox.Record // newest first
	whole  bool            // there are no others
}

type inboxSight struct {
	overview.Inbox
	newest []inbox.Record // newest first; nil: as in the look before
	whole  bool
}

// panicked is a panic in a goroutine of follow. It is not raised there: the
// terminal has to be restored first.
type panicked struct {
	value any
	stack []byte
}

func (p panicked) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// follow looks at all parts at an interval until ctx ends, and calls report with
// each result, one at a time. It returns when its goroutines have ended.
func follow(ctx context.Context, e *env.Env, interval time.Duration, report func(sight)) {
	var mu sync.Mutex
	var looking sync.WaitGroup
	for p := range parts {
		looking.Go(func() {
			f := &follower{part: p, settings: e}
			defer f.close()
			for ctx.Err() == nil {
				begun := e.IO.Now()
				s := f.look(ctx)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				report(s)
				mu.Unlock()
				pause := time.NewTimer(interval - e.IO.Now().Sub(begun))
				select {
				case <-pause.C:
				case <-ctx.Done():
					pause.Stop()
				}
			}
		})
	}
	looking.Wait()
}

// follower looks at one part. It keeps its connections while they serve.
type follower struct {
	part     part
	settings *env.Env
	env      *env.Env // nil: to be made
	last     inbox.Stats
}

func (f *follower) close() {
	if f.env != nil {
		_ = f.env.Close() // only reads were made
		f.env = nil
	}
}

func (f *follower) look(ctx context.Context) (s sight) {
	defer func() {
		if value := recover(); value != nil {
			s.err = panicked{value, debug.Stack()}
		}
		s.part, s.at = f.part, f.settings.IO.Now()
	}()
	if f.env == nil {
		f.env, f.last = f.settings.Again(f.settings.IO.Silent()), inbox.Stats{}
	}
	s.err = console.LookWithin(ctx, lookLimit, func(ctx context.Context) (err error) {
		switch f.part {
		case outboxPart:
			s.outbox, err = f.lookAtOutbox(ctx)
		case inboxPart:
			s.inbox, err = f.lookAtInbox(ctx)
		case brokerPart:
			s.queues, err = f.lookAtQueues(ctx)
		}
		return err
	})
	if s.err != nil {
		f.close() // the stack may be another one when it is back
	}
	return s
}

func (f *follower) lookAtOutbox(ctx context.Context) (*outboxSight, error) {
	ob, _, err := f.env.Outbox(ctx)
	if err != nil {
		return nil, err
	}
	page, err := ob.List(ctx, outbox.ListQuery{Limit: newestRows, WithoutPayload: true})
	if err != nil {
		return nil, err
	}
	seen, err := overview.ReadOutbox(ctx, ob)
	return &outboxSight{seen, page.Records, page.Next == 0}, err
}

func (f *follower) lookAtInbox(ctx context.Context) (*inboxSight, error) {
	in, _, err := f.env.Inbox(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := overview.ReadInbox(ctx, in)
	if err != nil {
		return nil, err
	}
	s := &inboxSight{Inbox: seen}
	if seen.Stats.Newest.Equal(f.last.Newest) && seen.Stats.Applied == f.last.Applied && !f.last.Newest.IsZero() {
		return s, nil // nothing was applied
	}
	page, err := in.List(ctx, inbox.ListQuery{Limit: newestEvents})
	if err != nil {
		return nil, err
	}
	if s.newest, s.whole = page.Records, page.Next == ""; s.newest == nil {
		s.newest = []inbox.Record{}
	}
	f.last = seen.Stats
	return s, nil
}

func (f *follower) lookAtQueues(ctx context.Context) (*overview.Queues, error) {
	q, err := overview.QueuesOf(ctx, f.env)
	if err != nil {
		return nil, err
	}
	seen, err := overview.ReadQueues(ctx, q)
	return &seen, err
}
