package rabbitmq

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// Inspector examines the queues of a Source, over connections of its own that
// are closed after use. It declares nothing. It is for one
// goroutine at a time.
type Inspector struct {
	conn  *rabbit.Conn
	cfg   rabbit.Config
	names Names

	countsReturns bool // the broker does, of quorum queues
	counting      bool // and the queues are such
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
	i := &Inspector{cfg: cfg.connection(forInspection), names: QueueNames(cfg.Queue, cfg.RetryDelays)}
	var err error
	if i.conn, err = rabbit.Dial(ctx, i.cfg); err != nil {
		return nil, err
	}
	i.countsReturns = countsReturns(i.conn.Properties)
	i.counting = i.countsReturns && cfg.QueueType == Quorum
	return i, nil
}

// Close ends the connection.
func (i *Inspector) Close() { i.conn.Close() }

// ServerVersion is the broker's version, such as "3.10.8", by its own word.
func (i *Inspector) ServerVersion() string {
	version, _ := i.conn.Properties["version"].(string)
	return version
}

// Depths counts the messages in each kind of queue. It touches none of them.
func (i *Inspector) Depths(ctx context.Context) (Depths, error) {
	var d Depths
	count := func(queue string) (amqp.Queue, error) {
		q, found, err := i.inspect(ctx, queue)
		if err == nil && !found {
			d.Missing = append(d.Missing, queue)
		}
		d.Holders += q.Consumers
		return q, err
	}
	q, err := count(i.names.Queue)
	if err != nil {
		return Depths{}, err
	}
	d.Ready, d.Consumers = q.Messages, q.Consumers
	for _, r := range i.names.Retry {
		if q, err = count(r.Queue); err != nil {
			return Depths{}, err
		}
		d.Retrying += q.Messages
	}
	if q, err = count(i.names.DeadLetters); err != nil {
		return Depths{}, err
	}
	d.DeadLettered = q.Messages
	return d, nil
}

// Depth is how many messages of a queue are ready for delivery; found is false
// where there is no such queue.
func (i *Inspector) Depth(ctx context.Context, queue string) (n int, found bool, err error) {
	q, found, err := i.inspect(ctx, queue)
	return q.Messages, found, err
}

// ErrInUse says that somebody else consumes the queue that was to be examined, so
// that neither would see all messages.
var ErrInUse = errors.New("queue is in use")

// IncompleteError says that not every message could be seen that was there at the
// beginning: somebody else holds the others, or has taken them.
type IncompleteError struct {
	Queue      string
	There, Saw int
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("queue %q held %d messages, and %d could be read: somebody else holds the others, or has taken them", e.Queue, e.There, e.Saw)
}

// inspect returns the counts of a queue; found is false where there is none.
func (i *Inspector) inspect(ctx context.Context, queue string) (q amqp.Queue, found bool, err error) {
	ch, err := i.channel(ctx)
	if err != nil {
		return q, false, err
	}
	var answer amqp.Queue // not to be read after an error: the call may still run
	err = i.conn.Do(ctx, func() (err error) {
		if answer, err = ch.QueueDeclarePassive(queue, true, false, false, false, nil); err != nil {
			return err // the broker has closed the channel
		}
		return ch.Close()
	})
	var reply *amqp.Error
	if errors.As(err, &reply) && reply.Code == amqp.NotFound {
		return q, false, nil
	}
	if err != nil {
		return q, false, fmt.Errorf("inspect queue %q: %w", queue, err)
	}
	return answer, true, nil
}

func (i *Inspector) channel(ctx context.Context) (*amqp.Channel, error) {
	var ch *amqp.Channel
	err := i.conn.Do(ctx, func() (err error) {
		ch, err = i.conn.Channel()
		return err
	})
	if err != nil {
		return nil, err
	}
	return ch, nil
}
