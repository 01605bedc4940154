package rabbitmq

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Queued is a message in any of a consumer's queues, with what its headers say.
// Those of a failure are zero where there was none.
type Queued struct {
	DeadLetter
	Position int // in the queue, from 1
}

// Looked says how much of a queue was seen, and what that has cost.
type Looked struct {
	Missing   bool // there is no such queue
	There     int  // messages that were ready at the beginning
	Consumers int  // of the queue, at the beginning
	Seen      int  // messages that were looked at: taken from the queue and put back
	// Replaced: each message was put back as a copy, so that the look does not
	// count towards a delivery limit; see DeadLetters.
	Replaced bool
	// Counted: each message was returned, which the broker counts towards a
	// delivery limit, if a policy or an argument sets one.
	Counted bool
}

// Look calls each with the messages that are ready in one of the source's
// queues, in their order, and disturbs them as little as the broker allows. It
// reads all of a queue or, if it holds more than limit, none: a quorum queue puts
// what is returned at its end, and only once around it is in its old order. It
// ends with the error that each returns, with ErrInUse where the queue has
// consumers, from which it would take messages, with an *IncompleteError where
// messages have left meanwhile.
//
// The dead-letter queue is read as DeadLetters reads it. Messages of the other
// queues are held for a moment and returned; those that wait for a retry come
// back when they are due. What is published to the consumed queue meanwhile may
// come before them: look into it only where that does no harm.
func (i *Inspector) Look(ctx context.Context, queue string, limit int, each func(Queued) error) (Looked, error) {
	q, found, err := i.inspect(ctx, queue)
	if err != nil {
		return Looked{}, err
	}
	looked := Looked{Missing: !found, There: q.Messages, Consumers: q.Consumers}
	letters := queue == i.names.DeadLetters
	switch {
	case q.Messages == 0 || q.Messages > limit:
		return looked, nil
	case q.Consumers > 0 && queue == i.names.Queue:
		return looked, fmt.Errorf("look into queue %q: %w, by %d consumers", queue, ErrInUse, q.Consumers)
	}
	b := newBrowser(i, queue, func(d *amqp.Delivery) error {
		looked.Seen++
		return each(Queued{newDeadLetter(d), looked.Seen})
	})
	b.returning = !letters
	err = b.run(ctx, 0)
	looked.Replaced = b.replacing
	looked.Counted = b.returning && i.counting
	return looked, err
}
