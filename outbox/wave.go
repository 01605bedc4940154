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
			err := l.publish(work, chunk)
			if work.Err() != nil {
				return
			}
			if err != nil && !l.isCulprit(work, chunk, err) {
				l.relay.monitor.trouble(work, partBroker, err)
				l.relay.outage.begin()
				l.window = 1
				return
			}
			for _, row := range chunk {
				if row.verdict != published {
					stops.at(row, row.verdict != none)
				}
			}
		}
	}
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

// sendable returns the rows of a wave that may go out, suspects last.
func (l *lane) sendable(wave []*outgoing, b *batch, stops stops) []*outgoing {
	valid := make(map[int]bool, len(b.asked))
	for n, asked := range b.asked {
		valid[n] = l.relay.keeper.valid(asked.lease)
	}
	now := time.Now()
	var rows, suspects []*outgoing
	for _, row := range wave {
		stored, stopped := stops[row.Key]
		s, suspected := l.suspects[row.Seq]
		switch {
		case stopped:
			row.behind = stored
		case !valid[row.bucket], suspected && now.Before(s.notBefore):
			stops.at(row, false)
		case row.err != nil:
			row.verdict = dead
			stops.at(row, true)
		case suspected:
			suspects = append(suspects, row)
		default:
			rows = append(rows, row)
		}
	}
	return append(rows, suspects...)
}

// publish hands rows to the publisher and notes its verdicts. The error is
// that of the first message about which nothing is known.
func (l *lane) publish(work context.Context, rows []*outgoing) (unavailable error) {
	ctx, cancel := context.WithTimeout(work, l.relay.cfg.PublishTimeout)
	defer cancel()
	msgs := make([]Message, len(rows))
	for i, row := range rows {
		msgs[i], row.handed = row.Message, true
	}
	l.inFlight.Add(int64(len(rows)))
	results := l.relay.publisher.Publish(ctx, msgs)
	if len(results) != len(rows) {
		return fmt.Errorf("publisher gave %d verdicts on %d messages", len(results), len(rows))
	}
	known := 0
	for i, row := range rows {
		row.verdict, row.err = judge(results[i]), results[i]
		if row.verdict != none {
			known++
			delete(l.suspects, row.Seq)
		} else if unavailable == nil {
			unavailable = results[i]
		}
	}
	if known > 0 {
		l.relay.outage.answered()
	}
	if unavailable == nil {
		l.window = min(4*l.window, l.relay.cfg.BatchSize)
		l.relay.monitor.trouble(work, partBroker, nil)
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

// suspect is a message that ended unavailable when it was sent alone.
type suspect struct {
	failedAt  time.Time
	failures  int       // while others got verdicts
	notBefore time.Time // when it may be tried again
}

const (
	// maxSuspects bounds what an outage, where everything ends so, leaves behind.
	maxSuspects = 32
	// proofs is how often a suspect must have failed alone, while others got
	// verdicts, to count as refused.
	proofs = 3
)

// chunk returns how many of rows are sent in one call. After a batch that
// ended unavailable it begins with one and grows with each success, and a
// suspect goes alone: so that a message over which the broker hangs up, sent
// by a publisher that does not find it itself, holds back nothing but its key.
func (l *lane) chunk(rows []*outgoing) int {
	n := slices.IndexFunc(rows, func(row *outgoing) bool {
		_, suspected := l.suspects[row.Seq]
		return suspected
	})
	switch n {
	case -1:
		return min(len(rows), l.window)
	case 0:
		return 1
	}
	return min(n, l.window)
}

// isCulprit reports whether an unavailable verdict is about one message rather
// than the broker: the message went alone, more than once, and others were
// given verdicts in between. It then waits for a moment, and in the end counts
// as refused: otherwise what follows in its bucket would be read, and left
// where it is, for ever.
func (l *lane) isCulprit(ctx context.Context, rows []*outgoing, err error) bool {
	if len(rows) != 1 {
		return false
	}
	row, now := rows[0], time.Now()
	s, known := l.suspects[row.Seq]
	culprit := known && l.relay.outage.answeredSince(s.failedAt)
	switch {
	case culprit:
		s.failures++
		s.notBefore = now.Add(retryPause(s.failures))
	case len(l.suspects) >= maxSuspects:
		clear(l.suspects)
	}
	if s.failures >= proofs {
		l.relay.log.WarnContext(ctx, "broker gives no verdict on one message, while it does on others",
			"id", row.ID, "topic", row.Topic, "error", err)
		row.verdict, row.err = failed, fmt.Errorf("no verdict on this message alone, %d times: %w", proofs, err)
		delete(l.suspects, row.Seq)
		return true
	}
	s.failedAt = now
	l.suspects[row.Seq] = s
	return culprit
}
