package command

import (
	"context"
	"errors"
	"time"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// inspectTimeout bounds one look at the queues.
const inspectTimeout = 10 * time.Second

// queues looks at the queues of one consumer, over a connection of its own
// each time: a command that waits must survive the broker's outages.
type queues struct{ source inboxrabbit.SourceConfig }

func (q queues) inspect(ctx context.Context, look func(context.Context, *inboxrabbit.Inspector) error) error {
	ctx, cancel := context.WithTimeout(ctx, inspectTimeout)
	defer cancel()
	i, err := inboxrabbit.OpenInspector(ctx, q.source)
	if err != nil {
		return unreachable("broker", err)
	}
	defer i.Close()
	if err := look(ctx, i); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return fail.New(fail.Unreachable, "", "the broker did not answer within %s", inspectTimeout)
		}
		return err
	}
	return nil
}

// Depths counts the messages in each kind of queue.
func (q queues) Depths(ctx context.Context) (d inboxrabbit.Depths, err error) {
	err = q.inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) error {
		d, err = i.Depths(ctx)
		return err
	})
	return d, err
}

// InFlight implements reconcile.Broker.
func (q queues) InFlight(ctx context.Context) (int, error) {
	d, err := q.Depths(ctx)
	return d.Ready + d.Retrying, err
}

// SetAside implements reconcile.Broker. The queue is read only when it holds
// something: reading takes its messages for a moment.
func (q queues) SetAside(ctx context.Context) (ids map[string]bool, total int, err error) {
	err = q.inspect(ctx, func(ctx context.Context, i *inboxrabbit.Inspector) error {
		d, err := i.Depths(ctx)
		if err != nil || d.DeadLettered == 0 {
			return err
		}
		total = d.DeadLettered
		list, err := i.DeadLetterIDs(ctx, 0)
		ids = make(map[string]bool, len(list))
		for _, id := range list {
			ids[id] = true
		}
		return err
	})
	return ids, total, err
}
