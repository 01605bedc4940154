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
	msgs     []Publishing
	verdicts []error
	next     int
	inFlight []flight // oldest first
}

// flight is a message on its way.
type flight struct {
	index   int
	confirm *amqp.DeferredConfirmation // nil: the write failed half way
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
		for len(b.inFlight) >= b.limit() {
			if err := b.settleOldest(ctx); err != nil {
				return err
			}
		}
		if err := b.awaitUnblocked(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := b.write(p); err != nil {
			return err
		}
	}
	for len(b.inFlight) > 0 {
		if err := b.settleOldest(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) write(p *Publishing) error {
	const mandatory, immediate = true, false
	confirm, err := b.ch.PublishWithDeferredConfirm(p.Exchange, p.Key, mandatory, immediate, p.Publishing)
	b.inFlight = append(b.inFlight, flight{b.next, confirm})
	b.next++
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

func (b *batch) settleOldest(ctx context.Context) error {
	oldest := b.inFlight[0]
	select {
	case <-oldest.confirm.Done():
	default:
		timer := time.NewTimer(b.timeout)
		defer timer.Stop()
		select {
		case <-oldest.confirm.Done():
		case <-timer.C:
			if reason, _ := b.conn.Blocked(); reason != "" {
				return fmt.Errorf("%w: %s", ErrBlocked, reason)
			}
			return fmt.Errorf("%w: nothing within %v", ErrNoConfirm, b.timeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	verdict, known := b.verdict(oldest)
	if !known {
		return ErrLost
	}
	b.proven = true
	b.verdicts[oldest.index] = verdict
	b.inFlight = b.inFlight[1:]
	return nil
}

// verdict reads an answer, if there is one. The library nacks what is
// unanswered when the channel closes, so that a nack on a closed channel says
// nothing.
func (b *batch) verdict(m flight) (verdict error, known bool) {
	if m.confirm == nil {
		return nil, false
	}
	select {
	case <-m.confirm.Done():
	default:
		return nil, false
	}
	switch {
	case m.confirm.Acked():
		return b.returnOf(&b.msgs[m.index]), true
	case b.ch.IsClosed():
		return nil, false
	}
	return ErrNacked, true
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
