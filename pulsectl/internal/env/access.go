package env

import (
	"context"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/queues"
)

// Access opens the servers of an Env, for packages that know nothing
// of commands.
type Access struct{ env *Env }

// Access returns access to the servers that flags, environment and the running
// stack name.
func (e *Env) Access() Access { return Access{e} }

// Outbox opens the outbox.
func (a Access) Outbox(ctx context.Context) (*outbox.Outbox, error) {
	ob, _, err := a.env.Outbox(ctx)
	return ob, err
}

// Inbox opens the inbox.
func (a Access) Inbox(ctx context.Context) (*inbox.Inbox, error) {
	in, _, err := a.env.Inbox(ctx)
	return in, err
}

// Queues returns a reader of the consumer's queues, see Env.ConsumerQueues.
func (a Access) Queues(ctx context.Context) (queues.Reader, error) {
	return a.env.ConsumerQueues(ctx)
}
