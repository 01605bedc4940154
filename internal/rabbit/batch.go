package rabbit

import (
	"context"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// batch is one call of Publish.
type batch struct {
	*Confirmer
	msgs     []Publishing
	verdicts []error
	sent     []bool   // written
	inFlight []flight // without an answer, oldest first
	lines    map[route]*line
	written  int
	answers  int   // up to here, in the order of writing, the channel has come for sure
	silent   error // why messages were given up

	endBurst func() error // nil: what was written has been sent
}

// flight is a message on its way.
type flight struct {
	index   int
	place   int // in the order of writing
	to      destination
	confirm *amqp.DeferredConfirmation // nil: the write failed half way
}

// line is what a batch knows of a route.
type line struct {
	inFlight int
	since    time.Time // when it last answered or, later, had nothing to answer
	proven   bool      // it answers
	waiting  bool      // a message of it was passed over in this round
	silent   error     // why nothing more is sent there
}

// run sends what there is and waits for the answers. An error means that the
// channel is of no more use.
//
// A route that has not answered lately is sent one message, after those of
// others, and the rest when that is confirmed. For with the first message of a
// channel to a quorum queue RabbitMQ waits, and with it the channel, until the
// queue has taken note: where it has no majority, for a minute.
func (b *batch) run(ctx context.Context) (err error) {
	defer func() {
		if unsent := b.flush(); err == nil {
			err = unsent
		}
	}()
	var todo, unproven []int
	for i := range b.msgs {
		p := &b.msgs[i]
		if err := checkCodable(p, b.conn.Config.FrameSize); err != nil {
			b.verdicts[i] = err
		} else if b.line(route{p.Exchange, p.Key}).proven {
			todo = append(todo, i)
		} else {
			unproven = append(unproven, i)
		}
	}
	todo = append(todo, unproven...)
	for len(todo) > 0 {
		if todo, err = b.round(ctx, todo); err != nil {
			return err
		}
		if len(todo) > 0 && len(b.inFlight) > 0 {
			if err := b.await(ctx); err != nil {
				return err
			}
			if err := b.collect(); err != nil {
				return err
			}
		}
	}
	for len(b.inFlight) > 0 {
		if err := b.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// round sends what may be sent, and returns what is left.
func (b *batch) round(ctx context.Context, todo []int) (left []int, err error) {
	for _, l := range b.lines {
		l.waiting = false
	}
	for n, i := range todo {
		p := &b.msgs[i]
		l := b.line(route{p.Exchange, p.Key})
		if l.silent == nil && (l.waiting || !l.proven && l.inFlight > 0) {
			l.waiting = true // and what comes behind it waits, too
			left = append(left, i)
			continue
		}
		for l.silent == nil && len(b.inFlight) >= b.limit() {
			if err := b.await(ctx); err != nil {
				return nil, err
			}
		}
		if l.silent != nil {
			b.verdicts[i] = &UnknownError{Cause: l.silent}
			continue
		}
		if err := b.awaitUnblocked(ctx); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err := b.write(i, l); err != nil {
			return nil, err
		}
		if !b.proven && n+1 < len(todo) {
			return append(left, todo[n+1:]...), nil // one at a time, and in this order
		}
	}
	return left, nil
}

// limit is how many messages may be without an answer. A broker that blocks
// publishing tells a connection so after its first message; until it has
// answered, nothing more is poured into the socket, where it would only pile
// up and come to life as duplicates when the alarm is over.
func (b *batch) limit() int {
	if !b.proven {
		return 1
	}
	return b.cfg.Window
}

func (b *batch) line(to route) *line {
	l := b.lines[to]
	if l == nil {
		l = &line{proven: time.Since(b.answered[to]) < b.cfg.Stall}
		b.lines[to] = l
	}
	return l
}

func (b *batch) write(i int, l *line) error {
	const immediate = false
	if b.endBurst == nil {
		b.endBurst = b.conn.beginBurst()
	}
	p := &b.msgs[i]
	confirm, err := b.ch.PublishWithDeferredConfirm(p.Exchange, p.Key, !p.Optional, immediate, p.Publishing)
	if l.inFlight == 0 {
		l.since = time.Now()
	}
	l.inFlight++
	b.written++
	b.sent[i] = true
	b.inFlight = append(b.inFlight, flight{i, b.written, destination{p.MessageId, route{p.Exchange, p.Key}}, confirm})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// flush sends what was written: before everything that waits for others.
func (b *batch) flush() error {
	if b.endBurst == nil {
		return nil
	}
	end := b.endBurst
	b.endBurst = nil
	if err := end(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// awaitUnblocked waits while the broker blocks publishing.
func (b *batch) awaitUnblocked(ctx context.Context) error {
	reason, changed := b.conn.Blocked()
	if reason == "" {
		return nil
	}
	if err := b.flush(); err != nil {
		return err
	}
	timer := time.NewTimer(b.cfg.BlockLimit)
	defer timer.Stop()
	for reason != "" {
		select {
		case <-changed:
		case <-ctx.Done():
			return BlockedError(reason)
		case <-timer.C:
			return BlockedError(reason)
		}
		reason, changed = b.conn.Blocked()
	}
	return nil
}

// await takes the answer on the oldest message, or gives up routes that have
// been silent for too long.
func (b *batch) await(ctx context.Context) error {
	oldest := b.inFlight[0]
	select {
	case <-oldest.confirm.Done():
	default:
		if err := b.flush(); err != nil {
			return err
		}
		timer := time.NewTimer(time.Until(b.lines[oldest.to.route].since.Add(b.cfg.Stall)))
		defer timer.Stop()
		select {
		case <-oldest.confirm.Done():
		case <-timer.C:
			return b.giveUpSilent()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	b.inFlight = b.inFlight[1:]
	return b.settle(oldest)
}

func (b *batch) settle(m flight) error {
	verdict, known := b.verdict(m)
	if !known {
		b.inFlight = append(b.inFlight, m) // for abandon
		return ErrLost
	}
	b.verdicts[m.index] = verdict
	now, l := time.Now(), b.lines[m.to.route]
	l.inFlight--
	l.since, l.proven = now, true
	b.answers = max(b.answers, m.place)
	b.noteAnswer(m.to.route, now)
	return nil
}

// collect takes every answer that has come, whichever message is the oldest.
func (b *batch) collect() error {
	sent := b.inFlight
	b.inFlight = make([]flight, 0, len(sent))
	for i, m := range sent {
		select {
		case <-m.confirm.Done():
			if err := b.settle(m); err != nil {
				b.inFlight = append(b.inFlight, sent[i+1:]...)
				return err
			}
		default:
			b.inFlight = append(b.inFlight, m)
		}
	}
	return nil
}

// giveUpSilent gives up routes from which no answer has come for too long. An
// error says that the channel has come no further than the oldest of their
// messages: what is behind it gets no answer on this channel, whatever its route.
func (b *batch) giveUpSilent() error {
	if reason, _ := b.conn.Blocked(); reason != "" {
		return BlockedError(reason)
	}
	if err := b.collect(); err != nil {
		return err
	}
	for len(b.inFlight) > 0 {
		oldest := b.inFlight[0]
		l := b.lines[oldest.to.route]
		if time.Since(l.since) < b.cfg.Stall {
			return nil
		}
		l.silent = fmt.Errorf("%w: none within %v", ErrNoConfirm, b.cfg.Stall)
		b.silent = l.silent
		b.inFlight = slices.DeleteFunc(b.inFlight, func(m flight) bool {
			if m.to.route != oldest.to.route {
				return false
			}
			b.verdicts[m.index] = b.unknown(m, l.silent)
			return true
		})
		if b.answers < oldest.place {
			return b.silent
		}
	}
	return nil
}

// unknown is the verdict on a message in flight that may still get its answer.
func (b *batch) unknown(m flight, cause error) error {
	return &UnknownError{Sent: true, Cause: cause, late: &late{confirmer: b.Confirmer, flight: m}}
}

// abandon gives every message without a verdict the reason why there will be
// none.
func (b *batch) abandon() {
	cause := b.err
	if b.silent != nil && cause == b.silent {
		cause = fmt.Errorf("%w: %w", ErrBehind, cause)
	}
	for _, m := range b.inFlight {
		verdict, known := b.verdict(m)
		switch {
		case known:
		case b.silent != nil && m.confirm != nil:
			verdict = b.unknown(m, cause)
		default:
			verdict = &UnknownError{Sent: true, Cause: cause}
		}
		b.verdicts[m.index] = verdict
	}
	for i, sent := range b.sent {
		if sent || b.verdicts[i] != nil {
			continue
		}
		unsent := &UnknownError{Cause: cause}
		if l := b.lines[route{b.msgs[i].Exchange, b.msgs[i].Key}]; l != nil && l.silent != nil {
			unsent.Cause = l.silent
		}
		b.verdicts[i] = unsent
	}
}
