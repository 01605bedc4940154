package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Publishing is a message with its destination.
type Publishing struct {
	Exchange, Key string
	amqp.Publishing
}

// Confirmer publishes on one channel in confirm mode, many messages at a time,
// and knows the fate of each. It is for one goroutine at a time.
//
// Publishing is mandatory, and an unroutable message is sent back and then
// acked; so the returns are looked through before an ack is believed. The
// library hands over both from its reading goroutine, a return before the ack
// that follows it.
type Confirmer struct {
	conn     *Conn
	ch       *amqp.Channel
	window   int
	timeout  time.Duration
	returns  <-chan amqp.Return
	closed   <-chan *amqp.Error
	returned map[destination][]*ReturnedError
	proven   bool // the broker has answered on this channel
	err      error
}

// destination is what a return is matched by. Copies of one message to one
// place are alike, so that it does not matter which of them is meant.
type destination struct{ id, exchange, key string }

// Confirmer opens a channel in confirm mode. window is the most messages
// without an answer at any time, timeout how long to wait for the next answer.
func (c *Conn) Confirmer(ctx context.Context, window int, timeout time.Duration) (*Confirmer, error) {
	if reason, _ := c.Blocked(); reason != "" {
		return nil, fmt.Errorf("%w: %s", ErrBlocked, reason) // it would not answer the request for a channel
	}
	f := &Confirmer{conn: c, window: window, timeout: timeout, returned: make(map[destination][]*ReturnedError)}
	err := c.Do(ctx, func() error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		f.ch = ch
		// With room for all that can be under way the reading goroutine never
		// has to wait for us.
		f.returns = ch.NotifyReturn(make(chan amqp.Return, window))
		f.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
		return ch.Confirm(false)
	})
	if err != nil {
		return nil, fmt.Errorf("open a channel for publishing: %w", err)
	}
	return f, nil
}

// ErrBlocked: the broker takes no messages, for want of memory or disk.
var ErrBlocked = errors.New("blocked by the broker")

// Publish sends msgs in their order and returns the verdicts by index: nil,
// ErrNacked, *ReturnedError, *UncodableError, or *UnknownError once the
// channel is gone, the broker is silent for the timeout, or ctx has ended.
// After an *UnknownError the Confirmer is spent; see Err.
func (f *Confirmer) Publish(ctx context.Context, msgs []Publishing) []error {
	b := &batch{Confirmer: f, msgs: msgs, verdicts: make([]error, len(msgs))}
	if f.err == nil {
		done := f.conn.cutWhenStuck(ctx)
		err := b.run(ctx)
		switch cut := done(); {
		case cut:
			f.err = context.Cause(ctx)
		case err != nil:
			f.giveUp(err)
		}
	}
	if f.err != nil {
		b.abandon()
	}
	return b.verdicts
}

// Err returns nil while the Confirmer can be used, and then why it cannot be
// any more: the broker's reason for closing the channel or connection (see
// Blamed), ErrBlocked, ErrNoConfirm, or the cause of the context's end.
func (f *Confirmer) Err() error {
	if f.err == nil && f.ch.IsClosed() {
		f.giveUp(ErrLost)
	}
	return f.err
}

// ErrNoConfirm: the broker has the message and does not answer.
var ErrNoConfirm = errors.New("no confirm in time")

// limit is how many messages may be without an answer. A broker that blocks
// publishing tells a connection so after its first message; until it has
// answered, nothing more is poured into the socket, where it would only pile
// up and come to life as duplicates when the alarm is over.
func (f *Confirmer) limit() int {
	if !f.proven {
		return 1
	}
	return f.window
}

func (f *Confirmer) awaitUnblocked(ctx context.Context) error {
	reason, changed := f.conn.Blocked()
	if reason == "" {
		return nil
	}
	timer := time.NewTimer(f.timeout)
	defer timer.Stop()
	for reason != "" {
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w: %s", ErrBlocked, reason)
		case <-timer.C:
			return fmt.Errorf("%w: %s", ErrBlocked, reason)
		}
		reason, changed = f.conn.Blocked()
	}
	return nil
}

// giveUp makes f spent. A channel that still works is closed behind us, since
// answers to what nobody waits for any more may come in. Where it is gone, or a
// write has failed, the broker's reason replaces err; it may be among what is
// still to be read.
func (f *Confirmer) giveUp(err error) {
	f.err = err
	if !errors.Is(err, ErrLost) && !f.ch.IsClosed() {
		f.conn.closeLater(f.ch)
		return
	}
	if !f.takeReason(writeGrace) {
		// The library keeps a connection whose flush has failed, though what
		// has reached the broker of it is anyone's guess.
		_ = f.conn.raw.Close()
		f.takeReason(closeTimeout)
	}
}

func (f *Confirmer) takeReason(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case reason := <-f.closed:
		if reason != nil {
			f.err = closeReason(reason)
		}
		return true
	case <-timer.C:
		return false
	}
}

// returnOf takes the oldest return of a message like p, if there is one.
func (f *Confirmer) returnOf(p *Publishing) error {
	for {
		select {
		case r, open := <-f.returns:
			if open {
				to := destination{r.MessageId, r.Exchange, r.RoutingKey}
				f.returned[to] = append(f.returned[to], &ReturnedError{int(r.ReplyCode), r.ReplyText, r.Exchange, r.RoutingKey})
				continue
			}
		default:
		}
		break
	}
	to := destination{p.MessageId, p.Exchange, p.Key}
	returns := f.returned[to]
	switch len(returns) {
	case 0:
		return nil
	case 1:
		delete(f.returned, to)
	default:
		f.returned[to] = returns[1:]
	}
	return returns[0]
}
