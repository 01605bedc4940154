package live

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Part is what is looked at separately, so that one that does not answer does not
// hold up the others.
type Part int

// The parts.
const (
	OutboxPart Part = iota
	InboxPart
	BrokerPart
	Parts // their number
)

func (p Part) String() string { return [...]string{"outbox", "inbox", "broker"}[p] }

const (
	// LookLimit limits one look at a part.
	LookLimit = 5 * time.Second
	// newestRows and newestEvents are how many rows of outbox and inbox each look
	// reads, to count those that the look before has not seen. Their indexes make
	// that cheap on a table of any size.
	newestRows   = 500
	newestEvents = inbox.MaxLimit
)

// Servers gives access to what is followed. A method whose server nobody has
// configured returns a fail.Error of the kind Usage.
type Servers interface {
	Outbox(context.Context) (*outbox.Outbox, error)
	Inbox(context.Context) (*inbox.Inbox, error)
	Queues(context.Context) (queues.Reader, error)
}

// Config says what to follow.
type Config struct {
	// Open returns servers for one goroutine, and a function that closes what it
	// has opened. It is called again after a look has failed, as the servers may be
	// others when they are back.
	Open     func() (Servers, func() error)
	Interval time.Duration
	Now      func() time.Time
}

// Sight is the result of one look at a part. One of the pointers is set, unless
// Err is.
type Sight struct {
	Part   Part
	At     time.Time // when it was complete
	Err    error     // Panicked: a mistake of ours
	Outbox *OutboxSight
	Inbox  *InboxSight
	Queues *overview.Queues
}

// OutboxSight is the result of a look at the outbox.
type OutboxSight struct {
	overview.Outbox
	Newest []outbox.Record // newest first
	Whole  bool            // there are no others
}

// InboxSight is the result of a look at the inbox.
type InboxSight struct {
	overview.Inbox
	Newest []inbox.Record // newest first; nil: as in the look before
	Whole  bool
}

// Panicked is a panic in a goroutine of Follow. It is not raised there: a
// terminal has to be restored first.
type Panicked struct {
	value any
	stack []byte
}

func (p Panicked) Error() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// Follow looks at all parts at an interval until ctx ends, and calls report with
// each result, one at a time. It returns when its goroutines have ended.
func Follow(ctx context.Context, cfg Config, report func(Sight)) {
	var mu sync.Mutex
	var looking sync.WaitGroup
	for p := range Parts {
		looking.Go(func() {
			f := &follower{part: p, cfg: cfg}
			defer f.close()
			for ctx.Err() == nil {
				begun := cfg.Now()
				s := f.look(ctx)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				report(s)
				mu.Unlock()
				pause := time.NewTimer(cfg.Interval - cfg.Now().Sub(begun))
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

// Look looks at all parts once, at the same time.
func Look(ctx context.Context, cfg Config) *Board {
	var mu sync.Mutex
	var looking sync.WaitGroup
	b := NewBoard()
	for p := range Parts {
		looking.Go(func() {
			f := &follower{part: p, cfg: cfg}
			defer f.close()
			s := f.look(ctx)
			mu.Lock()
			defer mu.Unlock()
			b.Observe(s)
		})
	}
	looking.Wait()
	return b
}

// follower looks at one part. It keeps its connections while they serve.
type follower struct {
	part    Part
	cfg     Config
	servers Servers // nil: to be opened
	release func() error
	last    inbox.Stats
}

func (f *follower) close() {
	if f.servers != nil {
		_ = f.release() // only reads were made
		f.servers = nil
	}
}

func (f *follower) look(ctx context.Context) (s Sight) {
	defer func() {
		if value := recover(); value != nil {
			s.Err = Panicked{value, debug.Stack()}
		}
		s.Part, s.At = f.part, f.cfg.Now()
	}()
	if f.servers == nil {
		f.servers, f.release = f.cfg.Open()
		f.last = inbox.Stats{}
	}
	s.Err = fail.Within(ctx, LookLimit, func(ctx context.Context) (err error) {
		switch f.part {
		case OutboxPart:
			s.Outbox, err = f.lookAtOutbox(ctx)
		case InboxPart:
			s.Inbox, err = f.lookAtInbox(ctx)
		case BrokerPart:
			s.Queues, err = f.lookAtQueues(ctx)
		}
		return err
	})
	if s.Err != nil {
		f.close() // the stack may be another one when it is back
	}
	return s
}

func (f *follower) lookAtOutbox(ctx context.Context) (*OutboxSight, error) {
	ob, err := f.servers.Outbox(ctx)
	if err != nil {
		return nil, err
	}
	page, err := ob.List(ctx, outbox.ListQuery{Limit: newestRows, WithoutPayload: true})
	if err != nil {
		return nil, err
	}
	seen, err := overview.ReadOutbox(ctx, ob)
	return &OutboxSight{seen, page.Records, page.Next == 0}, err
}

func (f *follower) lookAtInbox(ctx context.Context) (*InboxSight, error) {
	in, err := f.servers.Inbox(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := overview.ReadInbox(ctx, in)
	if err != nil {
		return nil, err
	}
	s := &InboxSight{Inbox: seen}
	if seen.Stats.Newest.Equal(f.last.Newest) && seen.Stats.Applied == f.last.Applied && !f.last.Newest.IsZero() {
		return s, nil // nothing was applied
	}
	page, err := in.List(ctx, inbox.ListQuery{Limit: newestEvents})
	if err != nil {
		return nil, err
	}
	if s.Newest, s.Whole = page.Records, page.Next == ""; s.Newest == nil {
		s.Newest = []inbox.Record{}
	}
	f.last = seen.Stats
	return s, nil
}

func (f *follower) lookAtQueues(ctx context.Context) (*overview.Queues, error) {
	q, err := f.servers.Queues(ctx)
	if err != nil {
		return nil, err
	}
	seen, err := overview.ReadQueues(ctx, q)
	return &seen, err
}
