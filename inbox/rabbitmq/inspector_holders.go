package rabbitmq

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// CountsHolders reports whether Depths.Holders leaves nobody out: whether the
// queue and the dead-letter queue are quorum queues. A classic queue counts its
// consumers, and not who holds messages that were got one by one, or by a
// consumer that was cancelled. False also where the broker does not tell the
// type, as to a user without the right to configure the queue.
func (i *Inspector) CountsHolders(ctx context.Context) (bool, error) {
	for _, queue := range []string{i.names.Queue, i.names.DeadLetters} {
		quorum, err := i.isQuorum(ctx, queue)
		if err != nil || !quorum {
			return false, err
		}
	}
	return true, nil
}

// isQuorum returns false where there is no such queue.
func (i *Inspector) isQuorum(ctx context.Context, queue string) (bool, error) {
	differences, err := i.conn.CompareQueue(ctx, rabbit.Queue{Name: queue})
	switch {
	case errors.Is(err, rabbit.ErrAccess), errors.Is(err, rabbit.ErrTopology):
		return false, nil
	case err != nil:
		return false, err
	}
	for _, d := range differences {
		if d.Argument == argType {
			return d.Have == Quorum.String(), nil
		}
	}
	return false, nil
}
