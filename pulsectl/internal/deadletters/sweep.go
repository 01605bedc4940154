package deadletters

import (
	"context"
	"errors"
	"hash/maphash"
	"math"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Destination is where letters are published.
type Destination struct{ Exchange, Key string }

// String is the destination as it is typed: a queue, or exchange and routing key.
func (d Destination) String() string {
	if d.Exchange == "" {
		return d.Key
	}
	return d.Exchange + "/" + d.Key
}

// Requeue moves letters to the queue they came from, or elsewhere.
type Requeue struct {
	Filter Filter
	To     Destination // zero: the queue of the source
	Limit  int         // most letters that move; 0: any number
	Rate   float64     // letters a second; 0: as many as there can be
	DryRun bool        // count them, and change nothing

	// Applied, if set, returns those of some events that the consumer has applied
	// already, for Report.AlreadyApplied: their letters move all the same, and
	// the inbox skips them.
	Applied func(ctx context.Context, eventIDs []string) (map[string]bool, error)
	// Done, if set, is told of each letter that has moved, or was refused.
	Done  func(l *Letter, err error)
	Audit Audit
}

// Report is what a Requeue or Discard has done.
type Report struct {
	Queue   string
	To      string // where letters moved; empty for a Discard
	Seen    int    // letters looked at
	Matched int    // by the filter, or to the limit
	Done    int    // moved or discarded; of a dry run what would have been
	Refused int
	// Failures are the first errors of letters that were refused.
	Failures []Failure
	// AlreadyApplied of those that moved had been applied before; negative:
	// unknown.
	AlreadyApplied int
	// Overtook counts those that moved although an earlier letter of their key
	// stays, because the filter does not select it or it was refused.
	Overtook int
	DryRun   bool
	// Interrupted: the context has ended before all were looked at.
	Interrupted bool
	AuditErr    error // why not everything was recorded; nil: it was, or Audit is zero
}

// Failure is a letter that was refused, and why.
type Failure struct {
	Ref string
	Err error
}

const (
	maxFailures = 10
	// finishLimit is how long a sweep may still take, to put letters into their
	// order again, when its context has ended.
	finishLimit = 2 * time.Minute
	// maxKeys bounds the keys that are remembered for Report.Overtook.
	maxKeys = 1 << 20
)

// Requeue moves letters as inbox/rabbitmq describes it at Inspector.Sweep: each is
// published, confirmed and only then acknowledged. It looks at those alone that
// are there at the beginning. When ctx ends it moves no more, puts the others into
// their order, and returns a Report that says Interrupted.
func (q Queue) Requeue(ctx context.Context, r Requeue) (Report, error) {
	if r.To == (Destination{}) {
		r.To.Key = q.Source.Queue
	}
	s := newSweeper(ctx, q, r.Filter, r.Limit, r.DryRun)
	s.report.To = r.To.String()
	s.pace = newPace(r.Rate)
	s.done = r.Done
	s.audit = newRecorder(r.Audit, ActionRequeue, s.report.Queue, s.report.To, r.Filter)
	if r.To.Exchange == "" && r.To.Key == s.report.Queue {
		return s.report, fail.Usagef("", "letters of queue %q cannot be moved to itself", s.report.Queue)
	}
	if s.report.AlreadyApplied = -1; r.Applied != nil {
		s.report.AlreadyApplied = 0
		s.commit = func(letters []Letter) error { return s.countApplied(letters, r.Applied) }
	}
	return s.run(inboxrabbit.Sweep{Exchange: r.To.Exchange, Key: r.To.Key}, inboxrabbit.Move)
}

// sweeper runs one sweep.
type sweeper struct {
	ctx     context.Context // its end is the end of deciding, not of the sweep
	queue   Queue
	filter  Filter
	limit   int
	report  Report
	pace    *pace                // nil: none
	commit  func([]Letter) error // nil: nothing to do before letters go
	done    func(*Letter, error) // nil: nobody to tell
	match   func(*Letter) bool   // further than the filter; nil: none
	pending []Letter             // decided on, and not settled
	kept    int                  // letters that stay, so far
	seed    maphash.Seed         // of
	keys    map[uint64]struct{}  // hashes of the keys of those
	audit   *recorder
	read    func(*Detail) error // sees each letter that is to go; nil: nobody
}

func newSweeper(ctx context.Context, q Queue, f Filter, limit int, dryRun bool) *sweeper {
	return &sweeper{ctx: ctx, queue: q, filter: f, limit: limit, seed: maphash.MakeSeed(), keys: make(map[uint64]struct{}),
		report: Report{Queue: q.QueueName(), DryRun: dryRun}}
}

func (s *sweeper) run(sweep inboxrabbit.Sweep, fate inboxrabbit.Fate) (Report, error) {
	if s.report.DryRun {
		return s.dryRun()
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(s.ctx))
	defer cancel(nil)
	late := make(chan struct{})
	defer close(late)
	defer context.AfterFunc(s.ctx, func() {
		timer := time.NewTimer(finishLimit)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(s.ctx))
		case <-late:
		}
	})()
	i, err := inboxrabbit.OpenInspector(s.ctx, s.queue.Source)
	if err != nil {
		return s.report, fail.CannotReach("broker", err)
	}
	defer i.Close()
	total, _, err := i.Depth(s.ctx, s.report.Queue)
	if err != nil {
		return s.report, fail.Wrap("cannot read the dead letters", err)
	}
	sweep.Queue = s.report.Queue
	sweep.Window, sweep.Batch = s.pace.window(), s.pace.batch()
	sweep.Decide = func(d inboxrabbit.DeadLetter) (inboxrabbit.Fate, error) { return s.decide(d, total, fate) }
	sweep.Commit = func() error {
		s.audit.begin(s.ctx)
		return s.commitPending()
	}
	sweep.Done = s.settled
	err = explain(i.Sweep(ctx, sweep))
	s.audit.flush(s.ctx)
	s.report.AuditErr = s.audit.err
	if refused, is := errors.AsType[*inboxrabbit.RefusedError](err); is {
		err = &fail.Error{Kind: fail.Partial, Message: "letters were refused, and stay in " + s.report.Queue, Cause: refused,
			Hint: "see that the destination exists and is not full: pulsectl doctor"}
		if s.report.Done == 0 {
			err.(*fail.Error).Kind = fail.General
		}
	}
	s.report.Interrupted = s.ctx.Err() != nil
	return s.report, err
}

// decide returns the fate of letters that match, until there are enough. From
// then on all stay: at once where they are if none has been put behind the others yet.
func (s *sweeper) decide(d inboxrabbit.DeadLetter, total int, fate inboxrabbit.Fate) (inboxrabbit.Fate, error) {
	if s.ctx.Err() != nil || s.limit > 0 && s.report.Matched >= s.limit {
		if s.kept == 0 {
			return inboxrabbit.Keep, inboxrabbit.ErrEnough
		}
		s.kept++
		return inboxrabbit.Keep, nil
	}
	s.report.Seen++
	if s.queue.Progress != nil {
		s.queue.Progress(s.report.Seen, max(total, s.report.Seen))
	}
	letter := read(s.report.Queue, s.report.Seen, d)
	if !s.matches(&letter) || s.pace.wait(s.ctx) != nil {
		s.stays(&letter.Letter)
		return inboxrabbit.Keep, nil
	}
	s.report.Matched++
	s.overtakes(&letter.Letter)
	if s.read != nil {
		if err := s.read(&letter); err != nil {
			return inboxrabbit.Keep, err
		}
	}
	s.pending = append(s.pending, letter.Letter)
	return fate, nil
}

func (s *sweeper) matches(l *Detail) bool {
	return s.filter.Match(&l.Letter) && (s.match == nil || s.match(&l.Letter))
}

// overtakes counts a letter that is to go while an earlier one of its key stays.
func (s *sweeper) overtakes(l *Letter) {
	if _, stays := s.keys[maphash.String(s.seed, l.Key)]; stays && l.Key != "" {
		s.report.Overtook++
	}
}

func (s *sweeper) stays(l *Letter) {
	s.kept++
	if l.Key != "" && len(s.keys) < maxKeys {
		s.keys[maphash.String(s.seed, l.Key)] = struct{}{}
	}
}

// settled counts a letter that is gone, or was refused.
func (s *sweeper) settled(d inboxrabbit.DeadLetter, _ inboxrabbit.Fate, err error) {
	letter := read(s.report.Queue, 0, d).Letter
	if err != nil {
		s.report.Refused++
		s.stays(&letter)
		if len(s.report.Failures) < maxFailures {
			s.report.Failures = append(s.report.Failures, Failure{letter.Ref, err})
		}
	} else {
		s.report.Done++
		s.audit.add(s.ctx, letter.Ref)
	}
	if s.done != nil {
		s.done(&letter, err)
	}
}

// dryRun counts what would be done.
func (s *sweeper) dryRun() (Report, error) {
	err := s.queue.Each(s.ctx, func(d *Detail) error {
		s.report.Seen++
		switch {
		case s.limit > 0 && s.report.Matched >= s.limit, !s.matches(d):
			s.stays(&d.Letter)
			return nil
		}
		s.overtakes(&d.Letter)
		s.report.Matched++
		s.report.Done++
		if s.commit != nil {
			if s.pending = append(s.pending, d.Letter); len(s.pending) == appliedAtOnce {
				return s.commitPending()
			}
		}
		return nil
	})
	if err == nil {
		err = s.commitPending()
	}
	s.report.Interrupted = s.ctx.Err() != nil
	return s.report, err
}

// appliedAtOnce is how many events are looked up in the inbox at a time.
const appliedAtOnce = 256

// commitPending is called before what was decided is done.
func (s *sweeper) commitPending() error {
	letters := s.pending
	s.pending = s.pending[:0]
	if s.commit == nil || len(letters) == 0 {
		return nil
	}
	return s.commit(letters)
}

// countApplied counts the letters whose events are applied.
func (s *sweeper) countApplied(letters []Letter, applied func(context.Context, []string) (map[string]bool, error)) error {
	var ids []string
	for i := range letters {
		if id := letters[i].EventID; id != "" {
			ids = append(ids, id)
		}
	}
	known, err := applied(context.WithoutCancel(s.ctx), ids)
	if err != nil {
		return fail.Wrap("cannot look into the inbox", err)
	}
	for _, id := range ids {
		if known[id] {
			s.report.AlreadyApplied++
		}
	}
	return nil
}

// pace spreads letters over time. Nil: as fast as can be.
type pace struct {
	rate float64
	next time.Time
}

func newPace(rate float64) *pace {
	if rate <= 0 {
		return nil
	}
	return &pace{rate: rate}
}

// wait returns when the next letter may go, or an error when ctx has ended.
func (p *pace) wait(ctx context.Context) error {
	if p == nil {
		return nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	timer := time.NewTimer(p.next.Sub(now))
	defer timer.Stop()
	p.next = p.next.Add(time.Duration(float64(time.Second) / p.rate))
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// batch is how many letters go at once: those of a tenth of a second.
func (p *pace) batch() int {
	if p == nil {
		return 0
	}
	return int(math.Ceil(p.rate / 10))
}

// window is how many letters may be unacknowledged: those of half a minute, which is
// little beside the time after which RabbitMQ ends a consumer.
func (p *pace) window() int {
	if p == nil {
		return 0
	}
	return int(math.Ceil(p.rate*30)) + 1
}
