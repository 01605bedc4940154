package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// verdict is what became of a message that was handed to the publisher.
type verdict int

const (
	none      verdict = iota // not sent, or the publisher does not know
	published                // the broker has it
	failed                   // the broker refused it; to be tried again
	dead                     // it cannot be published
)

// send publishes a batch in waves. A wave holds at most one message of each
// key, and the next begins when all its verdicts are there: so that of one
// key no later message is on its way while an earlier one may still be
// refused, and all keys advance together. Messages without a key go in the
// first wave. It ends early when taking ends or the broker gives no verdicts;
// what was not sent keeps the verdict none.
func (l *lane) send(taking, work context.Context, b *batch) {
	stops := make(stops)
	for _, wave := range waves(b.rows) {
		rest := l.sendable(wave, b, stops)
		for len(rest) > 0 {
			if taking.Err() != nil {
				return
			}
			chunk := rest[:l.chunk(rest)]
			rest = rest[len(chunk):]
			silent, answers := l.publish(work, chunk)
			if !answers {
				return
			}
			for _, row := range chunk {
				if row.verdict != published {
					stops.at(row, row.verdict != none)
				}
			}
			if len(silent) > 0 {
				b.silent = append(b.silent, silent...)
				rest = b.dropSilent(rest, stops)
			}
		}
	}
}

// dropSilent takes messages of topics out of rows that have turned out to be
// silent while the batch was being sent.
func (b *batch) dropSilent(rows []*outgoing, stops stops) []*outgoing {
	return slices.DeleteFunc(rows, func(row *outgoing) bool {
		if !slices.Contains(b.silent, row.Topic) {
			return false
		}
		stops.at(row, false)
		return true
	})
}

// partBroker is the broker's name among the parts that may be in trouble.
const partBroker = "broker"

// stops are the keys of which nothing more may go out in this batch. The
// value is true where a failure stored with its message holds them back from
// then on.
type stops map[string]bool

func (s stops) at(row *outgoing, stored bool) {
	if row.Key != "" {
		s[row.Key] = stored
	}
}

// waves splits rows: the nth row of each key goes into the nth wave.
func waves(rows []*outgoing) (waves [][]*outgoing) {
	depths := make(map[string]int)
	for _, row := range rows {
		depth := depths[row.Key]
		if row.Key != "" {
			depths[row.Key]++
		}
		if depth == len(waves) {
			waves = append(waves, nil)
		}
		waves[depth] = append(waves[depth], row)
	}
	return waves
}

// sendable returns the rows of a wave that may go out. Last come those that may
// be why there were no verdicts before.
func (l *lane) sendable(wave []*outgoing, b *batch, stops stops) []*outgoing {
	valid := make(map[int]bool, len(b.asked))
	for n, asked := range b.asked {
		valid[n] = l.relay.keeper.valid(asked.lease)
	}
	now := time.Now()
	var rows, doubtful, suspects []*outgoing
	for _, row := range wave {
		stored, stopped := stops[row.Key]
		s, suspected := l.suspects[row.Seq]
		_, failed := l.failedAt[row.Topic]
		switch {
		case stopped:
			row.behind = stored
		case row.waits, !valid[row.bucket], suspected && now.Before(s.notBefore):
			stops.at(row, false)
		case row.err != nil:
			row.verdict = dead
			stops.at(row, true)
		case suspected:
			suspects = append(suspects, row)
		case failed:
			doubtful = append(doubtful, row)
		default:
			rows = append(rows, row)
		}
	}
	return b.dropSilent(slices.Concat(rows, doubtful, suspects), stops)
}

// publish hands rows to the publisher and notes its verdicts. It returns the
// topics that have turned out to get none, and whether the broker gives any.
func (l *lane) publish(work context.Context, rows []*outgoing) (silent []string, answers bool) {
	l.inFlight.Add(int64(len(rows)))
	call, end := l.beginCall(work)
	unavailable := l.hand(call, rows)
	interrupted := call.Err() != nil
	end()
	known := false
	for _, row := range rows {
		if row.verdict != none {
			known = true
			l.noteVerdict(row)
		}
	}
	if known {
		l.relay.outage.answered()
	}
	switch {
	case interrupted:
		return nil, false
	case unavailable == nil:
		l.window = min(4*l.window, l.relay.cfg.BatchSize)
		l.relay.monitor.trouble(work, partBroker, nil)
		return nil, true
	}
	return l.explain(work, rows, known, unavailable)
}

// errLeft is the cause of calls that end because their buckets are left to
// other relays.
var errLeft = errors.New("the broker does not answer this relay, which leaves its buckets to others")

// beginCall returns the context of a call of Publish that interrupt ends.
func (l *lane) beginCall(work context.Context) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(work)
	l.setCall(publishCall{cancel, time.Now()})
	return ctx, func() {
		l.setCall(publishCall{})
		cancel(nil)
	}
}

func (l *lane) setCall(c publishCall) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.call = c
}

// interrupt ends the call of Publish that is under way. What has no verdict
// then has none.
func (l *lane) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.call.end != nil {
		l.call.end(errLeft)
	}
}

// waitsSince returns since when a call of Publish is under way; zero: none is.
func (l *lane) waitsSince() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.call.began
}

// hand calls the publisher. The error is that of the first message about which
// nothing is known.
func (l *lane) hand(ctx context.Context, rows []*outgoing) (unavailable error) {
	ctx, cancel := context.WithTimeout(ctx, l.relay.cfg.PublishTimeout)
	defer cancel()
	msgs := make([]Message, len(rows))
	for i, row := range rows {
		msgs[i], row.handed = row.Message, true
	}
	results := l.relay.publisher.Publish(ctx, msgs)
	if len(results) != len(rows) {
		return fmt.Errorf("publisher gave %d verdicts on %d messages", len(results), len(rows))
	}
	for i, row := range rows {
		row.verdict, row.err = judge(results[i]), results[i]
		if row.verdict == none && unavailable == nil {
			unavailable = results[i]
		}
	}
	return unavailable
}

// judge reads the class of a publisher's error. One that ended with its
// context says nothing about the message.
func judge(err error) verdict {
	switch {
	case err == nil:
		return published
	case IsUnavailable(err):
		return none
	case IsPermanent(err):
		return dead
	case errors.Is(err, ErrRejected), errors.Is(err, ErrUnroutable):
		return failed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return none
	}
	return failed
}
