package env

import (
	"context"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/journey"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Journey returns where to look for a message. A server that is not given, or
// does not answer, is left out.
func (e *Env) Journey(ctx context.Context) (s journey.Sources, err error) {
	given, err := e.Given()
	if err != nil {
		return s, err
	}
	if given.Outbox {
		s.Outbox, _, s.OutboxErr = e.Outbox(ctx)
	}
	if given.Inbox {
		s.Inbox, _, s.InboxErr = e.Inbox(ctx)
	}
	if s.Inbox != nil && !e.shared() {
		// A handler enqueues in the transaction that marks its event as applied, so
		// that its outbox is beside the inbox, if it has one.
		if next, err := outbox.New(e.inDB); err == nil {
			s.Next = next
		}
	}
	if !given.Broker {
		return s, ctx.Err()
	}
	read := e.Queues
	if s.Inbox != nil {
		read = func() (q queues.Reader, err error) { return e.QueuesOf(ctx, s.Inbox) }
	}
	if q, err := read(); err != nil {
		s.QueuesErr = err
	} else {
		s.Queues = &q
	}
	s.BrokerUp = e.brokerUp()
	return s, ctx.Err()
}

// shared reports whether outbox and inbox are in one database.
func (e *Env) shared() bool {
	out, outErr := e.OutboxURL()
	in, inErr := e.InboxURL()
	return outErr == nil && inErr == nil && out == in
}

// brokerUp returns the command that starts the broker if it is the running
// stack's.
func (e *Env) brokerUp() string {
	url, err := e.AMQPURL()
	if s, stackErr := e.Running(); err != nil || stackErr != nil || s.AMQPURL != url {
		return ""
	}
	return "pulsectl chaos broker-up"
}
