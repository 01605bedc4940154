package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/wire"
)

// Inspector looks at the queues of a Source from outside, over a connection of
// its own that is closed after use. It declares nothing. It is for one
// goroutine at a time.
type Inspector struct {
	conn  *rabbit.Conn
	names Names
}

// Depths are the numbers of messages in the queues of a source. Messages that
// are delivered and not yet settled, or just on their way back from a retry
// queue, are in none of them.
type Depths struct {
	Ready        int // in the queue, to be delivered
	Retrying     int // in all retry queues together
	DeadLettered int
	Consumers    int // of the queue; see Holders
	// Holders are the consumers of all these queues together. A quorum queue
	// counts among them whoever else holds messages of it unacknowledged, once
	// for each message got and for each consumer that was cancelled; of a classic
	// queue see CountsHolders.
	Holders int
	Missing []string // queues that do not exist; they count as empty
}

// OpenInspector connects once; it does not try again. Of cfg it needs what
// says where the broker and which the queues are.
func OpenInspector(ctx context.Context, cfg SourceConfig) (*Inspector, error) {
	cfg = cfg.withDefaults()
	if err := cfg.problems(); err != nil {
		return nil, fmt.Errorf("rabbitmq inspector: %w", err)
	}
	conn, err := rabbit.Dial(ctx, cfg.connection(forInspection))
	if err != nil {
		return nil, err
	}
	return &Inspector{conn, QueueNames(cfg.Queue, cfg.RetryDelays)}, nil
}

// Close ends the connection.
func (i *Inspector) Close() { i.conn.Close() }

// Depths counts the messages in each kind of queue.
func (i *Inspector) Depths(ctx context.Context) (Depths, error) {
	var d Depths
	look := func(queue string) (amqp.Queue, error) {
		q, found, err := i.look(ctx, queue)
		if err == nil && !found {
			d.Missing = append(d.Missing, queue)
		}
		d.Holders += q.Consumers
		return q, err
	}
	q, err := look(i.names.Queue)
	if err != nil {
		return Depths{}, err
	}
	d.Ready, d.Consumers = q.Messages, q.Consumers
	for _, rung := range i.names.Retry {
		if q, err = look(rung.Queue); err != nil {
			return Depths{}, err
		}
		d.Retrying += q.Messages
	}
	if q, err = look(i.names.DeadLetters); err != nil {
		return Depths{}, err
	}
	d.DeadLettered = q.Messages
	return d, nil
}

// ReadyIDs returns the event ids in the queue itself, as DeadLetterIDs does.
// The consumer gets what was looked at marked as redelivered.
func (i *Inspector) ReadyIDs(ctx context.Context, limit int) ([]string, error) {
	return i.ids(ctx, i.names.Queue, limit)
}

// RetryingIDs returns the event ids in each retry queue, shortest delay first,
// as DeadLetterIDs does. limit is for each.
func (i *Inspector) RetryingIDs(ctx context.Context, limit int) ([]string, error) {
	var all []string
	for _, rung := range i.names.Retry {
		ids, err := i.ids(ctx, rung.Queue, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, ids...)
	}
	return all, nil
}

// DeadLetterIDs returns the event ids of at most limit dead letters, in the
// order of the queue; with limit 0 of all that were there when it began.
// Messages without an id are left out, a missing queue has none.
//
// The messages are taken without acknowledgement and given back, and are there
// again a moment after it has returned. A quorum queue puts them behind those
// that were not looked at. It also counts each look as a return, and drops
// messages that reach a delivery limit: the queues a Source declares have
// none, those made by hand on RabbitMQ 4 have one unless told otherwise.
func (i *Inspector) DeadLetterIDs(ctx context.Context, limit int) ([]string, error) {
	return i.ids(ctx, i.names.DeadLetters, limit)
}

func (i *Inspector) ids(ctx context.Context, queue string, limit int) (ids []string, err error) {
	err = i.read(ctx, queue, limit, func(d amqp.Delivery) error {
		if d.MessageId != "" {
			ids = append(ids, d.MessageId)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// DeadLetter is a message in the dead-letter queue. Its fields that nobody has
// set are empty: those of a message that was put there by the broker or a tool.
type DeadLetter struct {
	ID       string // of the event
	Consumer string // whose source set it aside, by SourceConfig.Consumer
	Reason   inbox.Reason
	Body     []byte
}

// DeadLetters calls each with every dead letter that was there when it began,
// in the order of the queue, and ends with the first error that each returns.
// What it costs is what DeadLetterIDs costs.
func (i *Inspector) DeadLetters(ctx context.Context, each func(DeadLetter) error) error {
	return i.read(ctx, i.names.DeadLetters, 0, func(d amqp.Delivery) error {
		failure := wire.ReadFailure(d.Headers)
		return each(DeadLetter{ID: d.MessageId, Consumer: failure.Consumer, Reason: failure.Reason, Body: d.Body})
	})
}

// read shows messages of a queue to each, at most limit of those that were
// there when it began; 0: all.
func (i *Inspector) read(ctx context.Context, queue string, limit int, each func(amqp.Delivery) error) (err error) {
	q, found, err := i.look(ctx, queue)
	if err != nil || !found {
		return err
	}
	n := q.Messages
	if limit > 0 {
		n = min(n, limit)
	}
	ch, err := i.channel(ctx)
	if err != nil {
		return err
	}
	var last uint64
	defer func() {
		err = errors.Join(err, i.conn.Do(ctx, func() error {
			if last == 0 {
				return ch.Close()
			}
			return errors.Join(ch.Nack(last, true, true), ch.Close())
		}))
	}()
	for range n {
		var d amqp.Delivery
		var ok bool
		err := i.conn.Do(ctx, func() (err error) {
			d, ok, err = ch.Get(queue, false)
			return err
		})
		if err != nil {
			return fmt.Errorf("look into queue %q: %w", queue, err)
		}
		if !ok {
			break
		}
		last = d.DeliveryTag
		if err := each(d); err != nil {
			return err
		}
	}
	return nil
}

// look asks for a queue; found is false where there is none.
func (i *Inspector) look(ctx context.Context, queue string) (q amqp.Queue, found bool, err error) {
	ch, err := i.channel(ctx)
	if err != nil {
		return q, false, err
	}
	err = i.conn.Do(ctx, func() error {
		if q, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
			return err // the broker has closed the channel
		}
		return ch.Close()
	})
	var reply *amqp.Error
	if errors.As(err, &reply) && reply.Code == amqp.NotFound {
		return amqp.Queue{}, false, nil
	}
	if err != nil {
		return amqp.Queue{}, false, fmt.Errorf("look at queue %q: %w", queue, err)
	}
	return q, true, nil
}

func (i *Inspector) channel(ctx context.Context) (ch *amqp.Channel, err error) {
	err = i.conn.Do(ctx, func() error {
		ch, err = i.conn.Channel()
		return err
	})
	return ch, err
}
