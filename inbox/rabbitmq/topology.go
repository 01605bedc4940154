package rabbitmq

import (
	"context"
	"errors"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// Topology says what a Source does about exchange, queues and bindings each
// time it connects.
type Topology = rabbit.TopologyMode

// The topology modes.
const (
	// Declare creates what is missing; what exists with other settings is an
	// error.
	Declare = rabbit.Declare
	// Verify creates nothing, and waits, loudly, for what is missing. It takes
	// queues as they are, whatever their settings.
	Verify = rabbit.Verify
	// None neither creates nor looks.
	None = rabbit.None
)

// ensureAll sets up everything the source stands on. The retry queues come
// last: they lead back to the queue.
func (s *Source) ensureAll(ctx context.Context, conn *rabbit.Conn) error {
	mode := s.cfg.Topology
	if err := conn.EnsureExchange(ctx, mode, rabbit.Exchange{Name: s.cfg.Exchange, Kind: amqp.ExchangeTopic}); err != nil {
		return err
	}
	args := amqp.Table{}
	if s.cfg.SingleActiveConsumer {
		args["x-single-active-consumer"] = true
	}
	if err := s.ensureQueue(ctx, conn, s.names.Queue, args); err != nil {
		return err
	}
	for _, topic := range s.cfg.Topics {
		if err := conn.EnsureBinding(ctx, mode, s.names.Queue, topic, s.cfg.Exchange); err != nil {
			return err
		}
	}
	return s.ensureParking(ctx, conn)
}

// ensureParking sets up the queues that failed messages go to.
func (s *Source) ensureParking(ctx context.Context, conn *rabbit.Conn) error {
	if err := s.ensureQueue(ctx, conn, s.names.DeadLetters, amqp.Table{}); err != nil {
		return err
	}
	for _, rung := range s.names.Retry {
		if err := s.ensureQueue(ctx, conn, rung.Queue, s.rungArgs(rung)); err != nil {
			return err
		}
	}
	return nil
}

// rungArgs makes a queue hold each message for the delay and then pass it to
// the consumer's queue through the default exchange, where no other queue can
// be bound. A quorum rung keeps the message until that queue has it; a classic
// one passes it on at most once.
func (s *Source) rungArgs(rung Rung) amqp.Table {
	args := amqp.Table{
		"x-message-ttl":             rung.Delay.Milliseconds(),
		"x-dead-letter-exchange":    "",
		"x-dead-letter-routing-key": s.names.Queue,
	}
	if s.cfg.QueueType == Quorum {
		args["x-dead-letter-strategy"] = "at-least-once"
		args["x-overflow"] = "reject-publish" // at-least-once demands it
	}
	return args
}

const deliveryLimit = "x-delivery-limit"

// ensureQueue completes args by the queue's type. Quorum queues of RabbitMQ
// 4.0 and later drop a message at its 20th return unless told otherwise, and
// counting is ours. To a 3.x server -1 means the first return, so it is never
// told.
func (s *Source) ensureQueue(ctx context.Context, conn *rabbit.Conn, name string, args amqp.Table) error {
	args["x-queue-type"] = s.cfg.QueueType.String()
	if s.cfg.QueueType == Quorum && limitsDeliveries(conn.Properties) {
		args[deliveryLimit] = int64(-1)
	}
	err := conn.EnsureQueue(ctx, s.cfg.Topology, rabbit.Queue{Name: name, Args: args})
	if _, told := args[deliveryLimit]; !told || !lacksDeliveryLimit(err) {
		return err
	}
	// Declared on a 3.x server that has been upgraded since.
	delete(args, deliveryLimit)
	err = conn.EnsureQueue(ctx, s.cfg.Topology, rabbit.Queue{Name: name, Args: args})
	if err == nil {
		s.cfg.Logger.WarnContext(ctx, "queue has the broker's default delivery limit; set a policy with delivery-limit -1 on it", "queue", name)
	}
	return err
}

// limitsDeliveries reports whether the server is RabbitMQ 4.0 or later.
func limitsDeliveries(server amqp.Table) bool {
	if product, _ := server["product"].(string); product != "RabbitMQ" {
		return false
	}
	version, _ := server["version"].(string)
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 4
}

// mismatch reports whether err says that something exists with other settings.
func mismatch(err error) bool {
	var reply *amqp.Error
	return errors.Is(err, rabbit.ErrTopology) && errors.As(err, &reply) && reply.Code == amqp.PreconditionFailed
}

// lacksDeliveryLimit reports whether the only difference the broker names is
// that the existing queue has no delivery limit of its own.
func lacksDeliveryLimit(err error) bool {
	return mismatch(err) && strings.Contains(err.Error(), deliveryLimit) && strings.Contains(err.Error(), "current is none")
}
