package deadletters

import (
	"context"
	"errors"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Heal requeues letters in waves that grow, and goes on only while all of a wave
// are applied.
type Heal struct {
	Filter Filter
	Limit  int     // most letters in all; 0: any number
	Rate   float64 // letters a second; 0: as many as there can be
	// Timeout is how long one wave may take. Required.
	Timeout time.Duration
	// Applied returns those of some events that the consumer has applied. Required.
	Applied func(ctx context.Context, eventIDs []string) (map[string]bool, error)
	// Progress, if set, is told how the present wave stands, again and again.
	Progress func(Wave)
	// Done, if set, is told of each letter that has moved, or was refused.
	Done  func(l *Letter, err error)
	Audit Audit
}

// Wave is the state of a wave, or its outcome.
type Wave struct {
	Number   int // from 1
	Sent     int
	Applied  int // of those
	Relapsed int // are dead letters again, of those that were found so far
	Retrying int // messages in the retry queues, whoever's

	Consumers int // of the queue
	Took      time.Duration
}

// HealReport is what a Heal has done.
type HealReport struct {
	Queue string
	Waves []Wave // with an outcome, or without the last
	// Sent letters were requeued, and Applied of them have been applied, some
	// of these before already.
	Sent, Applied, AlreadyApplied int
	// Relapses are the letters that came back: why the healing ended. Up to 10.
	Relapses []Letter
	// Waiting were sent and have no outcome: they wait for a retry, or for the
	// consumer.
	Waiting int
	// Skipped match the filter and cannot be watched: they have no id, or are
	// conflicts, whose event was applied with another content. They stay.
	Skipped int
	// Left match the filter, and were not sent.
	Left        int
	Interrupted bool
	AuditErr    error // why not everything was recorded; nil: it was, or Audit is zero
}

// Relapsed counts the letters that became dead letters again.
func (r HealReport) Relapsed() (n int) {
	for _, w := range r.Waves {
		n += w.Relapsed
	}
	return n
}

// waveSize is how many letters a wave has: 1, 2, 5, 10, 20, 50 and so on to 1000.
func waveSize(number int) int {
	const most = 1000
	size := 1
	for n := 1; n < number && size < most; n++ {
		if factor := size; leading(factor) == 2 {
			size = size / 2 * 5
		} else {
			size *= 2
		}
	}
	return size
}

func leading(n int) int {
	for n >= 10 {
		n /= 10
	}
	return n
}

const (
	healPoll = 250 * time.Millisecond
	// readPause is how much longer than a reading of the dead letters the pause
	// before the next is.
	readPause = 4
)

// Heal requeues 1, 2, 5, 10, 20 ... letters, and waits after each wave until their
// events are applied. It ends at the first letter that becomes a dead letter again,
// when a wave has no outcome in time, or when none is left. A *fail.Error says that
// letters relapsed (General) or had no outcome in time (Timeout); the report is
// complete all the same.
func (q Queue) Heal(ctx context.Context, h Heal) (report HealReport, err error) {
	report.Queue = q.QueueName()
	audit := newRecorder(h.Audit, ActionHeal, report.Queue, q.Source.Queue, h.Filter)
	defer func() { report.AuditErr = audit.err }()
	for number := 1; ; number++ {
		size := waveSize(number)
		if h.Limit > 0 {
			size = min(size, h.Limit-report.Sent)
		}
		if size == 0 {
			return report, nil
		}
		w := wave{queue: q, heal: h, waiting: make(map[string]int), report: &report, audit: audit, state: Wave{Number: number}, begun: time.Now()}
		sent, err := w.send(ctx, size)
		report.Interrupted = sent.Interrupted
		if err != nil || w.state.Sent == 0 {
			return report, err
		}
		err = w.await(ctx)
		report.Waves = append(report.Waves, w.state)
		report.Applied += w.state.Applied
		report.Waiting += len(w.waiting)
		report.Interrupted = ctx.Err() != nil
		if err != nil || report.Interrupted {
			return report, err
		}
	}
}

// wave is one of them, being sent or awaited.
type wave struct {
	queue   Queue
	heal    Heal
	report  *HealReport
	audit   *recorder
	state   Wave
	begun   time.Time
	waiting map[string]int // events without an outcome, and how often each had been requeued before
	depth   int            // of the dead-letter queue, without those that relapsed
}

// send requeues the letters of a wave.
func (w *wave) send(ctx context.Context, size int) (Report, error) {
	before, err := w.depths(ctx)
	if err != nil {
		return Report{}, err
	}
	s := newSweeper(ctx, w.queue, w.heal.Filter, 0, false)
	s.pace, s.audit = newPace(w.heal.Rate), w.audit
	left, skipped := 0, 0
	s.match = func(l *Letter) bool {
		switch {
		case l.EventID == "" || l.Reason == string(inbox.ReasonConflict):
			skipped++
			return false
		case s.report.Matched == size:
			left++
			return false
		}
		return true
	}
	s.report.AlreadyApplied = 0
	s.commit = func(letters []Letter) error { return s.countApplied(letters, w.heal.Applied) }
	s.done = func(l *Letter, err error) {
		if err == nil {
			w.waiting[l.EventID] = l.Requeues
			w.state.Sent++
		}
		if w.heal.Done != nil {
			w.heal.Done(l, err)
		}
	}
	report, err := s.run(inboxrabbit.Sweep{Key: w.queue.Source.Queue}, inboxrabbit.Move)
	w.depth = before.DeadLettered - report.Done
	w.report.Sent += report.Done
	w.report.AlreadyApplied += report.AlreadyApplied
	w.report.Left, w.report.Skipped = left+report.Refused, skipped
	if err == nil && report.Refused > 0 {
		err = &fail.Error{Kind: fail.Partial, Message: "a letter was refused", Cause: report.Failures[0].Err}
	}
	return report, err
}

func (w *wave) depths(ctx context.Context) (inboxrabbit.Depths, error) {
	i, err := inboxrabbit.OpenInspector(ctx, w.queue.Source)
	if err != nil {
		return inboxrabbit.Depths{}, fail.CannotReach("broker", err)
	}
	defer i.Close()
	d, err := i.Depths(ctx)
	if err != nil || w.queue.Name == "" {
		return d, fail.Wrap("cannot inspect the queues", err)
	}
	d.DeadLettered, _, err = i.Depth(ctx, w.queue.Name)
	return d, fail.Wrap("cannot inspect the queues", err)
}

// await waits until all of the wave are applied. Inbox or broker may be away for
// a while.
func (w *wave) await(ctx context.Context) error {
	late := time.NewTimer(w.heal.Timeout)
	defer late.Stop()
	tick := time.NewTicker(healPoll)
	defer tick.Stop()
	var lookAgain time.Time
	for {
		err := w.look(ctx, &lookAgain) // once at least, however short the time
		w.state.Took = time.Since(w.begun)
		if w.heal.Progress != nil {
			w.heal.Progress(w.state)
		}
		if w.state.Relapsed > 0 {
			first := w.report.Relapses[0]
			return fail.New(fail.General, "see what is wrong: pulsectl dlq show "+first.Ref, "%d of wave %d became dead letters again: %s",
				w.state.Relapsed, w.state.Number, first.Error)
		}
		if len(w.waiting) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil // interrupted, as the report says
		case <-late.C:
			f := fail.New(fail.Timeout, "they stay in the queue or its retry queues, and are handled by themselves: pulsectl status",
				"%d of wave %d had no outcome within %s", len(w.waiting), w.state.Number, w.heal.Timeout)
			if f.Cause = err; err == nil && w.state.Consumers == 0 {
				f.Cause = errors.New("nobody consumes queue " + w.queue.Source.Queue)
			}
			return f
		}
	}
}

// look asks the inbox what was applied, and reads the dead letters when there are
// more than before.
func (w *wave) look(ctx context.Context, readAgain *time.Time) error {
	if err := w.countApplied(ctx); err != nil || len(w.waiting) == 0 {
		return err
	}
	d, err := w.depths(ctx)
	if err != nil {
		return err
	}
	w.state.Retrying, w.state.Consumers = d.Retrying, d.Consumers
	if d.DeadLettered <= w.depth || time.Now().Before(*readAgain) {
		return nil
	}
	begun := time.Now()
	reading := w.queue
	reading.Progress = nil
	var relapses []Letter
	seen := 0
	err = reading.Each(ctx, func(l *Detail) error {
		seen++
		if requeues, waits := w.waiting[l.EventID]; waits && l.Requeues > requeues { // else a copy that was not sent
			relapses = append(relapses, l.Letter)
		}
		return nil
	})
	*readAgain = time.Now().Add(readPause * time.Since(begun))
	if err != nil {
		return err
	}
	w.depth = seen - len(relapses)
	if err := w.countApplied(ctx); err != nil { // a copy may be left of what is applied
		return err
	}
	for _, l := range relapses {
		if _, waits := w.waiting[l.EventID]; !waits {
			continue
		}
		delete(w.waiting, l.EventID)
		w.state.Relapsed++
		if len(w.report.Relapses) < maxFailures {
			w.report.Relapses = append(w.report.Relapses, l)
		}
	}
	return nil
}

func (w *wave) countApplied(ctx context.Context) error {
	ids := make([]string, 0, len(w.waiting))
	for id := range w.waiting {
		ids = append(ids, id)
	}
	known, err := w.heal.Applied(ctx, ids)
	if err != nil {
		return fail.Wrap("cannot look into the inbox", err)
	}
	for id := range known {
		delete(w.waiting, id)
	}
	w.state.Applied = w.state.Sent - len(w.waiting) - w.state.Relapsed
	return nil
}
