package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// CountsHolders reports whether Depths.Holders leaves nobody out: whether the
// queue and the dead-letter queue are quorum queues. A classic queue counts its
// consumers, and not who holds messages that were got one by one, or by a
// consumer that was cancelled. False also where the broker does not tell the
// type, as to a user without the right to configure the queue.
//
// AMQP has no question for a queue's type. It is asked by a declaration with a
// type that no broker knows: it is refused in any case, creates nothing, and
// the refusal names the type there is. RabbitMQ logs that as an error.
func (i *Inspector) CountsHolders(ctx context.Context) (bool, error) {
	for _, queue := range []string{i.names.Queue, i.names.DeadLetters} {
		quorum, err := i.isQuorum(ctx, queue)
		if err != nil || !quorum {
			return false, err
		}
	}
	return true, nil
}

// noType is the queue type that no broker knows.
const noType = "none: a question of pulse-events"

func (i *Inspector) isQuorum(ctx context.Context, queue string) (bool, error) {
	args := amqp.Table{"x-queue-type": noType}
	// The broker names the first argument that differs. Those that a Source sets
	// beside the type are tried as well.
	for _, more := range []amqp.Table{{}, {"x-single-active-consumer": true}, {deliveryLimit: int64(-1)}} {
		for name, value := range more {
			args[name] = value
		}
		refusal, err := i.refusal(ctx, queue, args)
		if err != nil {
			return false, err
		}
		switch {
		case strings.Contains(refusal, "'x-queue-type'"):
			return strings.Contains(refusal, "current is 'quorum'"), nil
		case strings.Contains(refusal, "'x-single-active-consumer'"), strings.Contains(refusal, "'"+deliveryLimit+"'"):
		default:
			return false, nil
		}
	}
	return false, nil
}

// refusal is what the broker says to a declaration; empty: it does not refuse.
func (i *Inspector) refusal(ctx context.Context, queue string, args amqp.Table) (string, error) {
	ch, err := i.channel(ctx)
	if err != nil {
		return "", err
	}
	err = i.conn.Do(ctx, func() error {
		if _, err := ch.QueueDeclare(queue, true, false, false, false, args); err != nil {
			return err // the broker has closed the channel
		}
		return ch.Close()
	})
	if reply := new(amqp.Error); errors.As(err, &reply) && reply.Server {
		return reply.Reason, nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for the type of queue %q: %w", queue, err)
	}
	return "", nil
}
