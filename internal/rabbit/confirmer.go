package rabbit

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/health"
)

// Publishing is a message with its destination.
type Publishing struct {
	Exchange, Key string
	Optional      bool // a confirm counts though no queue was bound: the message is not mandatory
	amqp.Publishing
}

// Confirmer publishes on one channel in confirm mode, many messages at a time,
// and knows the fate of each. It is for one goroutine at a time.
//
// Publishing is mandatory unless optional, and an unroutable message is sent back and then
// acked; so the returns are looked through before an ack is believed. The
// library hands over both from its reading goroutine, a return before the ack
// that follows it.
type Confirmer struct {
	conn     *Conn
	ch       *amqp.Channel
	cfg      ConfirmerConfig
	returns  <-chan amqp.Return
	closed   <-chan *amqp.Error
	returned map[destination][]*ReturnedError
	proven   bool                // the broker has answered on this channel
	answered map[route]time.Time // when it last did for messages of a route
	err      error
}

// ConfirmerConfig says how a Confirmer waits.
type ConfirmerConfig struct {
	// Window is the most messages without an answer at any time.
	Window int
	// Stall is how long the broker may take for the next answer on messages of
	// one exchange and routing key before it is given up on these.
	Stall time.Duration
	// BlockLimit is how long the broker may block publishing before a call is
	// given up.
	BlockLimit time.Duration
	// KeepLate leaves the channel open when answers were given up, so that
	// those that come after all can be read from the UnknownErrors. The caller
	// closes the Confirmer then.
	KeepLate bool
}

// route is where a message is published to. Which queues are behind it, AMQP
// does not tell.
type route struct{ exchange, key string }

// destination is what a return is matched by. Copies of one message to one
// place are alike, so that it does not matter which of them is meant.
type destination struct {
	id string
	route
}

// Confirmer opens a channel in confirm mode.
func (c *Conn) Confirmer(ctx context.Context, cfg ConfirmerConfig) (*Confirmer, error) {
	if reason, _ := c.Blocked(); reason != "" {
		return nil, BlockedError(reason) // it would not answer the request for a channel
	}
	f := &Confirmer{conn: c, cfg: cfg, returned: make(map[destination][]*ReturnedError), answered: make(map[route]time.Time)}
	err := c.Do(ctx, func() error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		f.ch = ch
		// With room for all that can be under way, and as many that were given
		// up, the reading goroutine never has to wait for us.
		f.returns = ch.NotifyReturn(make(chan amqp.Return, 2*cfg.Window))
		f.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
		return ch.Confirm(false)
	})
	if err != nil {
		return nil, fmt.Errorf("open a channel for publishing: %w", err)
	}
	return f, nil
}

// ErrBlocked says that the broker takes no messages, for want of memory or disk.
var ErrBlocked error = health.Public("blocked by the broker")

// BlockedError is an ErrBlocked with the broker's reason, which is fit for
// strangers: low on memory, or on disk.
func BlockedError(reason string) error {
	return fmt.Errorf("%w: %w", ErrBlocked, health.Public(reason))
}

// Publish sends msgs, those of one exchange and routing key in their order, and
// returns the verdicts by index: nil, ErrNacked, *ReturnedError,
// *UncodableError, or *UnknownError once the channel is gone, ctx has ended,
// the broker gives no answers on messages of this route (ErrNoConfirm), or the
// channel is stuck behind such a one (ErrBehind): then it may be otherwise on
// another channel. After an *UnknownError the Confirmer is spent; see Err.
func (f *Confirmer) Publish(ctx context.Context, msgs []Publishing) []error {
	b := &batch{Confirmer: f, msgs: msgs, verdicts: make([]error, len(msgs)), sent: make([]bool, len(msgs)), lines: make(map[route]*line)}
	if f.err == nil {
		done := f.conn.cutWhenStuck(ctx)
		err := b.run(ctx)
		switch cut := done(); {
		case cut:
			f.err = context.Cause(ctx)
		case err != nil:
			f.giveUp(err)
		case b.silent != nil:
			f.giveUp(b.silent)
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

var (
	// ErrNoConfirm: the broker has the message and does not answer.
	ErrNoConfirm error = health.Public("no confirm in time")
	// ErrBehind: the broker has not come to the message, or not been sent it. It
	// comes with the ErrNoConfirm of another one.
	ErrBehind error = health.Public("behind another message on its channel")
)

// Close closes the channel, as a spent Confirmer with KeepLate leaves to its
// owner. Answers that have not come by then never do.
func (f *Confirmer) Close() {
	if !f.ch.IsClosed() {
		f.conn.closeLater(f.ch)
	}
}

// maxRoutes bounds what is remembered of routes.
const maxRoutes = 1000

// noteAnswer records that the broker answers for a route.
func (f *Confirmer) noteAnswer(r route, now time.Time) {
	f.proven = true
	if len(f.answered) >= maxRoutes {
		clear(f.answered)
	}
	f.answered[r] = now
}

// giveUp makes f spent. A channel that still works is closed behind us, since
// answers to what nobody waits for any more may come in. Where it is gone, or a
// write has failed, the broker's reason replaces err; it may be among what is
// still to be read.
func (f *Confirmer) giveUp(err error) {
	f.err = err
	if !errors.Is(err, ErrLost) && !f.ch.IsClosed() {
		if !f.cfg.KeepLate || !errors.Is(err, ErrNoConfirm) {
			f.Close()
		}
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

// verdict reads an answer, if there is one. The library nacks what is
// unanswered when the channel closes, so that a nack on a closed channel says
// nothing.
func (f *Confirmer) verdict(m flight) (verdict error, known bool) {
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
		return f.returnOf(m.to), true
	case f.ch.IsClosed():
		return nil, false
	}
	return ErrNacked, true
}

// returnOf takes the oldest return of such a message, if there is one.
func (f *Confirmer) returnOf(sent destination) error {
	for {
		select {
		case r, open := <-f.returns:
			if open {
				to := destination{r.MessageId, route{r.Exchange, r.RoutingKey}}
				f.returned[to] = append(f.returned[to], &ReturnedError{int(r.ReplyCode), r.ReplyText, r.Exchange, r.RoutingKey})
				continue
			}
		default:
		}
		break
	}
	returns := f.returned[sent]
	switch len(returns) {
	case 0:
		return nil
	case 1:
		delete(f.returned, sent)
	default:
		f.returned[sent] = returns[1:]
	}
	return returns[0]
}
