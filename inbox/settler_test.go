package inbox_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

// answering is a source whose outcomes a test decides: answer returns what is
// to be carried out, and the outcome of that.
type answering struct {
	*inboxtest.Queue
	answer func(s inbox.Settlement) (do *inbox.Action, outcome error)
}

func (a answering) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	outcomes := make([]error, len(settlements))
	for i, s := range settlements {
		do, outcome := a.answer(s)
		if do != nil {
			s.Action = *do
			outcome = errors.Join(outcome, a.Queue.Settle(ctx, []inbox.Settlement{s})[0])
		}
		outcomes[i] = outcome
	}
	return outcomes
}

// logged collects a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) lines(about string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, about) {
			lines = append(lines, line)
		}
	}
	return lines
}

func logTo(l *logged) *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// TestSettlerCountsOnlyConfirmed: counters and log report a settlement once the
// source has made it, and none that was refused.
func TestSettlerCountsOnlyConfirmed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		var log logged
		var full atomic.Bool
		full.Store(true)
		var refused atomic.Int32
		q := inboxtest.NewQueue()
		source := answering{q, func(s inbox.Settlement) (*inbox.Action, error) {
			if s.Action == inbox.ActionDeadLetter && full.Load() {
				refused.Add(1)
				return nil, errors.New("dead-letter queue is full")
			}
			return &s.Action, nil
		}}
		msgs := events(30, 3)
		culprit := msgs[7].ID
		c, err := inbox.NewConsumer(in, source, func(ctx context.Context, tx inbox.Tx, m inbox.Message) error {
			if m.ID == culprit {
				return inbox.DeadLetter(errors.New("bad amount"))
			}
			return record(ctx, tx, m)
		}, inbox.ConsumerConfig{Prefetch: 2, BatchSize: 1, Workers: 1, Logger: logTo(&log)})
		if err != nil {
			t.Fatal(err)
		}
		running := start(t, c)
		q.Publish(msgs...)
		// With two slots, one of them held by what is refused.
		q.WaitFor(t, "the others to be settled", func() bool { return len(q.Acked()) == len(msgs)-1 })
		eventually(t, "a second refusal", func() bool { return refused.Load() >= 2 })
		if h := running.Health(); h.DeadLettered != 0 || h.Unsettled != 1 || h.State != inbox.Degraded ||
			h.LastError == nil || !strings.Contains(h.LastError.Error(), "is full") {
			t.Errorf("while refused: %+v", h)
		}
		if lines := log.lines("message dead-lettered"); len(lines) != 0 {
			t.Errorf("while refused, the log says: %q", lines)
		}
		full.Store(false)
		q.WaitUntilEmpty(t)
		eventually(t, "the dead letter to be counted", func() bool {
			h := running.Health()
			return h.DeadLettered == 1 && h.Unsettled == 0 && h.State == inbox.Running
		})
		if lines := log.lines("message dead-lettered"); len(lines) != 1 || !strings.Contains(lines[0], culprit) || !strings.Contains(lines[0], "bad amount") {
			t.Errorf("the log says: %q", lines)
		}
		inboxtest.RequireCount(t, db, len(msgs)-1, `SELECT count(*) FROM effects`)
	})
}

// TestSettlerCountsDiverted: a retry that became a dead letter counts as one, and the
// log says why.
func TestSettlerCountsDiverted(t *testing.T) {
	in, _ := newInbox(t, sqliteFile(t))
	var log logged
	q := inboxtest.NewQueue()
	aside := inbox.ActionDeadLetter
	source := answering{q, func(s inbox.Settlement) (*inbox.Action, error) {
		if s.Action == inbox.ActionRetry {
			return &aside, &inbox.DivertedError{Action: inbox.ActionDeadLetter, Err: errors.New("headers leave no room for the count")}
		}
		return &s.Action, nil
	}}
	c, err := inbox.NewConsumer(in, source, func(context.Context, inbox.Tx, inbox.Message) error {
		return errors.New("bad amount")
	}, inbox.ConsumerConfig{Logger: logTo(&log)})
	if err != nil {
		t.Fatal(err)
	}
	running := start(t, c)
	q.Publish(event(1))
	eventually(t, "the dead letter to be counted", func() bool { h := running.Health(); return h.DeadLettered == 1 && h.SetAside == 1 })
	if h := running.Health(); h.Retried != 0 || h.Unsettled != 0 {
		t.Errorf("health %+v", h)
	}
	lines := log.lines("message dead-lettered")
	if len(lines) != 1 || !strings.Contains(lines[0], "instead_of=retry") || !strings.Contains(lines[0], "no room for the count") || !strings.Contains(lines[0], "bad amount") {
		t.Errorf("the log says: %q", lines)
	}
}

// TestSettlerHangingSource: while a dead letter waits for its
// confirm, which may take half a minute, other messages are applied.
func TestSettlerHangingSource(t *testing.T) {
	in, db := newInbox(t, sqliteFile(t))
	confirmed := make(chan struct{})
	q := inboxtest.NewQueue()
	source := answering{q, func(s inbox.Settlement) (*inbox.Action, error) {
		if s.Action == inbox.ActionDeadLetter {
			<-confirmed
		}
		return &s.Action, nil
	}}
	msgs := events(50, 5)
	culprit := msgs[0].ID
	consume(t, in, source, func(ctx context.Context, tx inbox.Tx, m inbox.Message) error {
		if m.ID == culprit {
			return inbox.DeadLetter(nil)
		}
		return record(ctx, tx, m)
	}, inbox.ConsumerConfig{Workers: 1})
	q.Publish(msgs...)
	q.WaitFor(t, "the others", func() bool { return len(q.Acked()) == len(msgs)-1 })
	close(confirmed)
	q.WaitUntilEmpty(t)
	inboxtest.RequireCount(t, db, len(msgs)-1, `SELECT count(*) FROM effects`)
}
