package rabbit

import (
	"context"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// batch is one call of Publish: messages up to next are written, those in
// flight without an answer.
type batch struct {
	*Confirmer
	msgs       []Publishing
	verdicts   []error
	next       int
	inFlight   []flight // oldest first
	lines      map[route]*line
	lastAnswer time.Time // when the last answer came, or the call began
	givenUp    int       // messages in flight whose answers are not waited for any more
	silent     error     // why
}

// flight is a message on its way.
type flight struct {
	index   int
	to      destination
	confirm *amqp.DeferredConfirmation // nil: the write failed half way
}

// line is what a batch knows of a route.
type line struct {
	inFlight int
	since    time.Time // when it last answered or, later, had nothing to answer
	silent   error     // why nothing more is sent there
}

// run sends what there is and waits for the answers. An error means that the
// channel is of no more use.
func (b *batch) run(ctx context.Context) error {
	for b.next < len(b.msgs) {
		p := &b.msgs[b.next]
		if err := checkCodable(p, b.conn.Config.FrameSize); err != nil {
			b.verdicts[b.next] = err
			b.next++
			continue
		}
		to := route{p.Exchange, p.Key}
		l := b.line(to)
		for l.silent == nil && (len(b.inFlight) >= b.limit() || l.inFlight >= b.lineLimit(to)) {
			if err := b.await(ctx); err != nil {
				return err
			}
		}
		if l.silent != nil {
			b.verdicts[b.next] = &UnknownError{Cause: l.silent}
			b.next++
			continue
		}
		if err := b.awaitUnblocked(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := b.write(p, l); err != nil {
			return err
		}
	}
	for len(b.inFlight) > 0 {
		if err := b.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

const (
	// trial is how many messages may be without an answer on a route that has
	// not given one for a Stall. RabbitMQ stops reading from the whole
	// connection a few hundred messages after a channel has 32 of them in a
	// quorum queue that does not take them.
	trial = 16
	// trials is how many may be so in all, while the channel has given none.
	trials = 256
)

// limit is how many messages may be without an answer. A broker that blocks
// publishing tells a connection so after its first message; until it has
// answered, or had the time to say so, nothing more is poured into the socket,
// where it would only pile up and come to life as duplicates when the alarm is
// over.
func (b *batch) limit() int {
	switch {
	case b.proven:
		return b.cfg.Window
	case b.silent != nil:
		return min(trials, b.cfg.Window)
	}
	return 1
}

// lineLimit is limit for the messages of one route.
func (b *batch) lineLimit(to route) int {
	if time.Since(b.answered[to]) < b.cfg.Stall {
		return b.cfg.Window
	}
	return trial
}

func (b *batch) line(to route) *line {
	l := b.lines[to]
	if l == nil {
		l = new(line)
		b.lines[to] = l
	}
	return l
}

func (b *batch) write(p *Publishing, l *line) error {
	const mandatory, immediate = true, false
	confirm, err := b.ch.PublishWithDeferredConfirm(p.Exchange, p.Key, mandatory, immediate, p.Publishing)
	if l.inFlight == 0 {
		l.since = time.Now()
	}
	l.inFlight++
	b.inFlight = append(b.inFlight, flight{b.next, destination{p.MessageId, route{p.Exchange, p.Key}}, confirm})
	b.next++
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
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
	l.since, b.lastAnswer = now, now
	b.noteAnswer(m.to.route, now)
	return nil
}

// giveUpSilent takes every answer that has come, whichever message is the
// oldest, and gives up the routes from which none has come for too long.
func (b *batch) giveUpSilent() error {
	if reason, _ := b.conn.Blocked(); reason != "" {
		return BlockedError(reason)
	}
	sent := b.inFlight
	b.inFlight = nil
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
	sent, b.inFlight = b.inFlight, nil
	for _, m := range sent {
		l := b.lines[m.to.route]
		if l.silent == nil && time.Since(l.since) >= b.cfg.Stall {
			l.silent = fmt.Errorf("%w: none within %v", ErrNoConfirm, b.cfg.Stall)
			b.silent = l.silent
		}
		if l.silent == nil {
			b.inFlight = append(b.inFlight, m)
			continue
		}
		b.givenUp++
		b.verdicts[m.index] = &UnknownError{Sent: true, Cause: l.silent, late: &late{confirmer: b.Confirmer, flight: m}}
	}
	if b.silent != nil && (time.Since(b.lastAnswer) >= b.cfg.Timeout || b.givenUp >= b.cfg.Window) {
		return b.silent // the broker, and not a route; or no room for what may come back
	}
	return nil
}

// abandon gives every message without a verdict the reason why there will be
// none.
func (b *batch) abandon() {
	for _, m := range b.inFlight {
		verdict, known := b.verdict(m)
		if !known {
			verdict = &UnknownError{Sent: true, Cause: b.err}
		}
		b.verdicts[m.index] = verdict
	}
	for ; b.next < len(b.msgs); b.next++ {
		b.verdicts[b.next] = &UnknownError{Cause: b.err}
	}
}
