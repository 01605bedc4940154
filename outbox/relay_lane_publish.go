package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// verdict is what is known of a message after it was handed to the publisher.
type verdict int

const (
	none      verdict = iota // not sent, or the publisher does not know
	published                // the broker has it
	failed                   // the broker refused it; to be tried again
	dead                     // it cannot be published, or was refused too often
)

// outcome is what became of a row in one turn.
type outcome struct {
	verdict verdict
	err     error // why it failed, is dead, or has no verdict
	handed  bool  // to the publisher
	behind  bool  // not sent: an earlier row of its key failed, which holds it back from now on
}

// sent is a plan that was carried out.
type sent struct {
	plan
	outcomes []outcome // of each row
	cut      bool      // there were more waves, and no more time
}

// sending is a plan while it is carried out.
type sending struct {
	sent
	stops  stops
	silent []string // topics that have turned out to get no verdicts
}

// maxSending is how long a lane begins new waves before it looks what else there is:
// a key with many messages must not hold up others.
const maxSending = 200 * time.Millisecond

// publish sends the rows of a plan in waves. A wave holds at most one message of
// each key, or KeyWindow, and the next begins when all its verdicts are there: so that of one
// key no later message is on its way while an earlier one may still be
// refused, and all keys advance together. Messages without a key go in the
// first wave. It ends early when taking ends or the broker gives no verdicts;
// what was not sent keeps the verdict none.
func (l *lane) publish(taking, work context.Context, p plan) sent {
	s := &sending{sent: sent{plan: p, outcomes: make([]outcome, len(p.rows))}, stops: make(stops)}
	began := time.Now()
	for n, wave := range waves(p.rows, l.keyWindow()) {
		if s.cut = n > 0 && time.Since(began) > maxSending; s.cut {
			break
		}
		rest := l.sendable(wave, s)
		for len(rest) > 0 {
			if taking.Err() != nil {
				return s.sent
			}
			if rest = l.dropPaused(s, rest); len(rest) == 0 {
				break
			}
			rows := s.rowsAt(rest)
			n := l.chunk(rows)
			outcomes, silent, answers := l.call(work, rows[:n])
			for i, place := range rest[:n] {
				s.outcomes[place] = outcomes[i]
				if v := outcomes[i].verdict; v != published {
					s.stops.at(rows[i], v != none)
				}
			}
			if !answers {
				return s.sent
			}
			s.silent = append(s.silent, silent...)
			rest = s.dropSilent(s.dropStopped(rest[n:]))
		}
	}
	return s.sent
}

func (s *sending) rowsAt(places []int) []*outgoing {
	rows := make([]*outgoing, len(places))
	for i, place := range places {
		rows[i] = s.rows[place]
	}
	return rows
}

// dropStopped takes messages away of keys of which one has failed.
func (s *sending) dropStopped(places []int) []int {
	return slices.DeleteFunc(places, func(place int) bool {
		stored, stopped := s.stops[s.rows[place].Key]
		s.outcomes[place].behind = stopped && stored
		return stopped
	})
}

// dropSilent takes messages of topics away that have turned out to be silent
// while the batch was being sent.
func (s *sending) dropSilent(places []int) []int {
	if len(s.silent) == 0 {
		return places
	}
	return slices.DeleteFunc(places, func(place int) bool {
		if !slices.Contains(s.silent, s.rows[place].Topic) {
			return false
		}
		s.stops.at(s.rows[place], false)
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

// sendable returns the rows of a wave that may go out. Last come those that may
// be why there were no verdicts before.
func (l *lane) sendable(wave []int, s *sending) []int {
	valid := make(map[int]bool, len(s.spans))
	for n, span := range s.spans {
		valid[n] = l.relay.leases.valid(span.lease)
	}
	now := time.Now()
	var well, doubtful, suspects []int
	for _, place := range wave {
		row, fate := s.rows[place], s.fates[place]
		stored, stopped := s.stops[row.Key]
		suspected, isSuspect := l.suspects[row.Seq]
		_, topicFailed := l.failedAt[row.Topic]
		switch {
		case fate == tried:
		case stopped:
			s.outcomes[place].behind = stored
		case fate != toSend, !valid[row.bucket], isSuspect && now.Before(suspected.notBefore):
			s.stops.at(row, false)
		case row.bad != nil:
			s.outcomes[place] = outcome{verdict: dead, err: row.bad}
			s.stops.at(row, true)
		case isSuspect:
			suspects = append(suspects, place)
		case topicFailed:
			doubtful = append(doubtful, place)
		default:
			well = append(well, place)
		}
	}
	return s.dropSilent(slices.Concat(well, doubtful, suspects))
}

// call hands rows to the publisher and returns the outcome of each, the topics
// that have turned out to get no verdicts, and whether the broker gives any.
func (l *lane) call(work context.Context, rows []*outgoing) (outcomes []outcome, silent []string, answers bool) {
	l.inFlight.Add(int64(len(rows)))
	ctx, end := l.beginCall(work)
	outcomes, unavailable := l.hand(ctx, rows)
	interrupted := ctx.Err() != nil
	end()
	known := false
	for i, row := range rows {
		if outcomes[i].verdict != none {
			known = true
			l.noteVerdict(row)
		}
	}
	if known {
		l.relay.outage.answered()
	}
	if unavailable != nil {
		l.unheard = time.Now()
	}
	switch {
	case interrupted:
		return outcomes, nil, false
	case unavailable == nil:
		l.window = min(4*l.window, l.relay.cfg.BatchSize)
		l.relay.monitor.trouble(work, partBroker, nil)
		return outcomes, nil, true
	}
	return l.explain(work, rows, outcomes, unavailable)
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
	l.publishing = c
}

// interrupt ends the call of Publish that is under way. What has no verdict
// then has none.
func (l *lane) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.publishing.end != nil {
		l.publishing.end(errLeft)
	}
}

// waitsSince returns since when a call of Publish is under way; zero: none is.
func (l *lane) waitsSince() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.publishing.began
}

// hand calls the publisher and returns the outcome of each row. The error is that
// of the first message about which nothing is known.
func (l *lane) hand(ctx context.Context, rows []*outgoing) (outcomes []outcome, unavailable error) {
	ctx, cancel := context.WithTimeout(ctx, l.relay.cfg.PublishTimeout)
	defer cancel()
	msgs := make([]Message, len(rows))
	for i, row := range rows {
		msgs[i] = row.Message
	}
	ctx, span := l.relay.startPublish(ctx, msgs)
	began := time.Now()
	results := l.relay.publisher.Publish(ctx, msgs)
	l.relay.endPublish(span, len(msgs), results)
	outcomes = make([]outcome, len(rows))
	if len(results) != len(rows) {
		for i := range outcomes {
			outcomes[i].handed = true
		}
		l.relay.metrics.published(ctx, l.relay.endpoint(), began, rows, slices.Repeat([]error{ErrUnavailable}, len(rows)))
		return outcomes, fmt.Errorf("publisher gave %d verdicts on %d messages", len(results), len(rows))
	}
	l.relay.metrics.published(ctx, l.relay.endpoint(), began, rows, results)
	for i, row := range rows {
		outcomes[i] = l.outcome(row, judge(results[i]), results[i])
		if outcomes[i].verdict == none && unavailable == nil {
			unavailable = results[i]
		}
	}
	return outcomes, unavailable
}

// outcome is that of a row which was handed to the publisher. One that was
// refused for the last time is dead.
func (l *lane) outcome(row *outgoing, v verdict, err error) outcome {
	if most := l.relay.cfg.MaxAttempts; v == failed && most > 0 && row.attempts+1 >= most {
		v = dead
	}
	return outcome{verdict: v, err: err, handed: true}
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
