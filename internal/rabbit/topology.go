package rabbit

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
	// Verify fails where something is missing. From RabbitMQ 4.2.6 on a user can
	// look only at what it has some permission for (in 4.2.6 and 4.3.0, to configure
	// it); the rest is taken to be there, as with None.
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

// ExchangeTypeProblem says why a broker knows no exchanges of type kind; "" where
// it may. To declare one of an unknown type ends the connection.
func ExchangeTypeProblem(kind string) string {
	switch kind {
	case amqp.ExchangeTopic, amqp.ExchangeDirect, amqp.ExchangeFanout, amqp.ExchangeHeaders:
		return ""
	}
	if strings.HasPrefix(kind, "x-") {
		return ""
	}
	return fmt.Sprintf("%q; use topic, direct, fanout, headers, or the type of a plugin, which begins with x-", kind)
}

// EnsureExchange declares or verifies e, durable, on a channel of its own.
func (c *Conn) EnsureExchange(ctx context.Context, mode TopologyMode, e Exchange) error {
	return c.ensure(ctx, mode, e.String(),
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare(e.Name, e.Kind, true, false, false, false, e.Args)
		},
		func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(e.Name, e.Kind, true, false, false, false, e.Args)
		})
}

// String describes e for whoever has to create it.
func (e Exchange) String() string {
	return fmt.Sprintf("exchange %q (durable, type %s)", e.Name, e.Kind)
}

// EnsureQueue declares or verifies q, durable, on a channel of its own. Verify
// looks whether it exists; see CompareQueue.
func (c *Conn) EnsureQueue(ctx context.Context, mode TopologyMode, q Queue) error {
	return c.ensure(ctx, mode, q.String(),
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(q.Name, true, false, false, false, q.Args)
			return err
		},
		func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclarePassive(q.Name, true, false, false, false, q.Args)
			return err
		})
}

// Binding leads messages from an exchange to a queue.
type Binding struct {
	Exchange, Key, Queue string
	Args                 amqp.Table
}

// String describes b for whoever has to create it.
func (b Binding) String() string {
	text := fmt.Sprintf("binding %q of queue %q to exchange %q", b.Key, b.Queue, b.Exchange)
	if len(b.Args) > 0 {
		text += " (arguments " + argumentsText(b.Args) + ")"
	}
	return text
}

// EnsureBinding makes a binding. AMQP cannot ask whether one exists, so that
// Verify does nothing.
func (c *Conn) EnsureBinding(ctx context.Context, mode TopologyMode, b Binding) error {
	return c.ensure(ctx, mode, b.String(),
		func(ch *amqp.Channel) error { return ch.QueueBind(b.Queue, b.Key, b.Exchange, false, b.Args) },
		func(*amqp.Channel) error { return nil })
}

func (c *Conn) ensure(ctx context.Context, mode TopologyMode, what string, declare, verify func(*amqp.Channel) error) error {
	switch mode {
	case None:
		return nil
	case Verify:
		err := c.onChannel(ctx, verify)
		if reply, ok := errors.AsType[*amqp.Error](err); ok && reply.Server && reply.Code == amqp.AccessRefused {
			return nil
		}
		return explainTopology(mode, what, err)
	}
	return explainTopology(mode, what, c.onChannel(ctx, declare))
}

// onChannel runs a request on a fresh channel: what the broker refuses closes
// it.
func (c *Conn) onChannel(ctx context.Context, run func(*amqp.Channel) error) error {
	return c.Do(ctx, func() error {
		ch, err := c.Channel()
		if err != nil {
			return err
		}
		if err := run(ch); err != nil {
			return err
		}
		return ch.Close()
	})
}

// explainTopology adds what the broker's answer means and the way out. The
// answer itself names the difference, as in: inequivalent arg 'type' for
// exchange 'pulse.events' in vhost '/': received 'topic' but current is 'fanout'.
func explainTopology(mode TopologyMode, what string, err error) error {
	var reply *amqp.Error
	if !errors.As(err, &reply) || !reply.Server {
		return err
	}
	switch reply.Code {
	case amqp.PreconditionFailed:
		return fmt.Errorf("%w: %s exists with other settings, which cannot be changed: %w; "+
			"delete it on the broker (a queue once it is drained), choose another name, "+
			"or set the topology mode to verify to use it as it is", ErrTopology, what, err)
	case amqp.NotFound:
		return fmt.Errorf("%w: %s: something is missing: %w; create it just so, or set the topology mode to declare", ErrTopology, what, err)
	case amqp.AccessRefused:
		return fmt.Errorf("%w: %s: %w: %w; grant the user the configure permission, "+
			"or create it yourself, just so, and set the topology mode to verify or none", ErrTopology, what, ErrAccess, err)
	}
	return fmt.Errorf("%s %s: %w", mode, what, err)
}
