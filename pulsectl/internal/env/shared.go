package env

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Shared gives access to servers to what serves several requests at the same time
// and for long: the settings are read again at each use, and connections are kept
// while they stay the same. It is safe for concurrent use, unlike an Env.
type Shared struct {
	again  func() *Env
	outbox slot[*outbox.Outbox]
	inbox  slot[*inbox.Inbox]
}

// NewShared returns access to the servers of the Env that again returns, a new one
// each time. The caller closes it.
func NewShared(again func() *Env) *Shared {
	return &Shared{again: again, outbox: newSlot[*outbox.Outbox](), inbox: newSlot[*inbox.Inbox]()}
}

// Close closes all connections.
func (s *Shared) Close() error { return errors.Join(s.outbox.close(), s.inbox.close()) }

// Outbox opens the outbox, or returns the one that is open.
func (s *Shared) Outbox(ctx context.Context) (*outbox.Outbox, error) {
	return s.outbox.get(ctx, s.again(), (*Env).OutboxURL, func(e *Env) (*outbox.Outbox, error) {
		ob, _, err := e.Outbox(ctx)
		return ob, err
	})
}

// Inbox opens the inbox, or returns the one that is open.
func (s *Shared) Inbox(ctx context.Context) (*inbox.Inbox, error) {
	return s.inbox.get(ctx, s.again(), (*Env).InboxURL, func(e *Env) (*inbox.Inbox, error) {
		in, _, err := e.Inbox(ctx)
		return in, err
	})
}

// Queues returns a reader of the consumer's queues, like Env.ConsumerQueues.
func (s *Shared) Queues(ctx context.Context) (queues.Reader, error) {
	return s.again().consumerQueues(ctx, s.Inbox)
}

// slot holds what was opened with the settings of an Env, and the Env to close.
type slot[T any] struct{ held chan opened[T] }

type opened[T any] struct {
	url   string
	env   *Env // nil: nothing is open
	value T
}

func newSlot[T any]() slot[T] {
	s := slot[T]{make(chan opened[T], 1)}
	s.held <- opened[T]{}
	return s
}

func (s slot[T]) get(ctx context.Context, e *Env, setting func(*Env) (string, error), open func(*Env) (T, error)) (none T, err error) {
	url, err := setting(e)
	if err != nil {
		return none, err
	}
	var is opened[T]
	select {
	case is = <-s.held:
	case <-ctx.Done(): // another request waits for the server
		return none, ctx.Err()
	}
	defer func() { s.held <- is }()
	if is.env != nil && is.url == url {
		return is.value, nil
	}
	if is.env != nil {
		_ = is.env.Close() // what still uses it fails, and is asked for again
		is = opened[T]{}
	}
	value, err := open(e)
	if err != nil {
		return none, errors.Join(err, e.Close())
	}
	is = opened[T]{url, e, value}
	return value, nil
}

func (s slot[T]) close() error {
	is := <-s.held
	defer func() { s.held <- opened[T]{} }()
	if is.env == nil {
		return nil
	}
	return is.env.Close()
}
