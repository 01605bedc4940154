package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// A quorum queue without a majority of its nodes delivers nothing, and the broker does
// not say so: the subscription stays, and a passive declaration is answered from
// what one node remembers. So a queue that has been quiet for a while is asked for a
// message by basic.get, to which only a majority can answer that there is none. A
// queue that does not answer ends the link: the next one may lead to a node that
// has a majority on its side.

const (
	// quietLimit is how long a queue may be quiet before it is asked.
	quietLimit = 15 * time.Second
	// answerLimit is how long it may take to answer.
	answerLimit = 15 * time.Second
)

// What strangers may read of it.
const errQuiet health.Public = "the queue does not answer"

// answer is what basic.get has come to.
type answer struct {
	delivery amqp.Delivery
	found    bool
	err      error
}

// mayAsk reports whether the queue can be asked. Nothing may be unsettled: the
// prefetch needs room for what is got, and no acknowledgement may cover its tag.
func (l *link) mayAsk() bool {
	return l.quorum && !l.source.cfg.SingleActiveConsumer && !l.source.unaskable.Load() && l.unacked.none()
}

// ask has l.asked get the queue's answer. Until then the caller reads nothing from
// l.deliveries. It is asked on the link's channel, because a message that is got on
// another one could only be returned, and the next of its key might pass it.
func (l *link) ask() {
	ctx, stop := context.WithTimeoutCause(l.source.life, l.source.answerLimit, errNoAnswer)
	asked := make(chan answer, 1)
	l.asked, l.stopAsking = asked, stop
	l.asking.Go(func() {
		got := make(chan answer, 1)
		err := l.conn.Do(ctx, func() error {
			d, found, err := l.channel.Get(l.source.names.Queue, false)
			got <- answer{delivery: d, found: found}
			return err
		})
		if err != nil {
			asked <- answer{err: err}
		} else {
			asked <- <-got
		}
	})
}

var errNoAnswer = errors.New("no answer in time")

// awaitAnswer returns once nothing is asked any more.
func (l *link) awaitAnswer() error {
	if l.asked == nil {
		return nil
	}
	return l.answered(<-l.asked)
}

// answered takes the answer. An error ends the link.
func (l *link) answered(a answer) error {
	l.asked = nil
	l.stopAsking()
	var reply *amqp.Error
	switch errors.As(a.err, &reply); {
	case a.err == nil && !a.found:
		return nil
	case a.err == nil:
		return l.receiveAsked(a.delivery)
	case reply != nil && reply.Code == amqp.ResourceLocked: // it has a single active consumer
		l.source.unaskable.Store(true)
		return lost(reply)
	case errors.Is(a.err, errNoAnswer), reply != nil && reply.Code == amqp.InternalError:
		return fmt.Errorf("%w: %q, asked after %v without a delivery: %w; a quorum queue needs a majority of its nodes "+
			"(rabbitmq-queues quorum_status %s)", errQuiet, l.source.names.Queue, l.source.quietLimit, a.err, l.source.names.Queue)
	case reply != nil:
		return lost(reply)
	}
	return rabbit.ErrLost
}

// receiveAsked takes a message that was got in its place among those that were
// delivered: a channel counts them together.
func (l *link) receiveAsked(asked amqp.Delivery) error {
	for l.lastTag+1 < asked.DeliveryTag { // the library has them
		d, open := <-l.deliveries
		if !open {
			return rabbit.ErrLost
		}
		l.receive(d)
	}
	l.receive(asked)
	return nil
}
