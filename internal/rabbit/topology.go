package rabbit

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/health"
)

// TopologyMode says what is done about exchanges, queues and bindings when a
// connection is made.
type TopologyMode int

const (
	// Declare creates what is missing and fails where something of the same
	// name differs. The zero value.
	Declare TopologyMode = iota
	// Verify fails where something is missing. It cannot see whether what is
	// there has other settings.
	Verify
	// None does nothing; what is missing shows when it is used.
	None
)

func (m TopologyMode) String() string {
	switch m {
	case Declare:
		return "declare"
	case Verify:
		return "verify"
	case None:
		return "none"
	}
	return fmt.Sprintf("TopologyMode(%d)", int(m))
}

// Validate refuses a value that is none of the modes.
func (m TopologyMode) Validate() error {
	if m < Declare || m > None {
		return fmt.Errorf("%v is none of declare, verify, none", m)
	}
	return nil
}

// ErrTopology is matched by errors about what is missing or differs on the
// broker: somebody has to act.
var ErrTopology error = health.Public("topology")

// Exchange is an exchange as it should be.
type Exchange struct {
	Name string
	Kind string // amqp.ExchangeTopic and the like
	Args amqp.Table
}

// Queue is a durable queue as it should be.
type Queue struct {
	Name string
	Args amqp.Table
}

// EnsureExchange declares or verifies e, durable, on a channel of its own.
func (c *Conn) EnsureExchange(ctx context.Context, mode TopologyMode, e Exchange) error {
	return c.ensure(ctx, mode, "exchange", e.Name,
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(e.Name, e.Kind, true, false, false, false, e.Args)
		},
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(e.Name, e.Kind, true, false, false, false, e.Args)
		})
}

// EnsureQueue declares or verifies q, durable, on a channel of its own.
func (c *Conn) EnsureQueue(ctx context.Context, mode TopologyMode, q Queue) error {
	return c.ensure(ctx, mode, "queue", q.Name,
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.Name, true, false, false, false, q.Args)
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(q.Name, true, false, false, false, q.Args)
			return err
		})
}

// EnsureBinding binds queue to exchange under key. AMQP cannot ask whether a
// binding exists, so that Verify does nothing.
func (c *Conn) EnsureBinding(ctx context.Context, mode TopologyMode, queue, key, exchange string) error {
	return c.ensure(ctx, mode, "binding", fmt.Sprintf("%s of queue %s to exchange %s", key, queue, exchange),
		func(ch *amqp.Channel) error { return ch.QueueBind(queue, key, exchange, false, nil) },
		func(*amqp.Channel) error { return nil })
}

// ensure runs on a fresh channel: what the broker refuses closes it.
func (c *Conn) ensure(ctx context.Context, mode TopologyMode, kind, name string, declare, verify func(*amqp.Channel) error) error {
	run := declare
	switch mode {
	case None:
		return nil
	case Verify:
		run = verify
	}
	err := c.Do(ctx, func() error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		if err := run(ch); err != nil {
			return err
		}
		return ch.Close()
	})
	return explainTopology(mode, kind, name, err)
}

// explainTopology adds what the broker's answer means and the way out. The
// answer itself names the difference, as in: inequivalent arg 'type' for
// exchange 'pulse.events' in vhost '/': received 'topic' but current is 'fanout'.
func explainTopology(mode TopologyMode, kind, name string, err error) error {
	var reply *amqp.Error
	if !errors.As(err, &reply) || !reply.Server {
		return err
	}
	switch reply.Code {
	case amqp.PreconditionFailed:
		return fmt.Errorf("%w: %s %q exists with other settings, which cannot be changed: %w; "+
			"delete it on the broker (for a queue, once it is drained), give the %s another name, "+
			"or set the topology mode to verify to use it as it is", ErrTopology, kind, name, err, kind)
	case amqp.NotFound:
		return fmt.Errorf("%w: %s %q: something is missing: %w; create it, or set the topology mode to declare", ErrTopology, kind, name, err)
	case amqp.AccessRefused:
		return fmt.Errorf("%w: %s %q: %w: %w; grant the user the configure permission, "+
			"or create it yourself and set the topology mode to verify or none", ErrTopology, kind, name, ErrAccess, err)
	}
	return fmt.Errorf("%s %s %q: %w", mode, kind, name, err)
}
