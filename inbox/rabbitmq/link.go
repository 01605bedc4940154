package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// link is a subscription on one channel. Deliveries are settled on the channel
// they came on or not at all: elsewhere their tags mean other messages.
type link struct {
	source  *Source
	conn    *rabbit.Conn
	channel *amqp.Channel
	tag     string
	queueTraits
	counting   bool // the broker counts returns to quorum queues
	deliveries <-chan amqp.Delivery
	closed     <-chan *amqp.Error
	cancelled  <-chan string
	window     *window
	unacked    *unacked

	renewal *renewal
	waiting []inbox.Delivery // received, to be handed out
	lastTag uint64           // received

	asked      <-chan answer // of a quiet queue that was asked; nil: it was not
	stopAsking func()
	asking     sync.WaitGroup

	stuck map[uint64]error // tags of messages that no queue takes; guarded by source.mu
}

// handle is what inbox.Delivery.Handle holds.
type handle struct {
	link *link
	raw  amqp.Delivery

	// Of whoever has reserved the delivery.
	refusedSince time.Time // no queue has taken it since; zero: it was not tried
	unfit        error     // no queue ever can
}

// returnCounts reports whether returning the delivery counts towards a delivery
// limit, which a policy may have set, and no client can see.
func (h *handle) returnCounts() bool { return h.link.counting && (h.link.quorum || returns(h.raw) > 0) }

// manyReturns is the number of returns that is more than a lost connection.
const manyReturns = 2

// open subscribes on a connection.
func (sub *subscription) open(ctx context.Context, conn *rabbit.Conn) (*link, error) {
	s := sub.source
	found, err := s.ensureAll(ctx, conn)
	if err != nil {
		return nil, err
	}
	l := &link{
		source: s, conn: conn, tag: s.cfg.Consumer, queueTraits: found, counting: countsReturns(conn.Properties),
		stuck: make(map[uint64]error), stopAsking: func() {},
		window: &window{limit: s.cfg.PrefetchBytes, pause: conn.Pause, resume: conn.Resume},
	}
	l.unacked = newUnacked(sub.prefetch, l.ack, l.window.free)
	l.renewal = newRenewal(l)
	err = conn.Do(ctx, func() (err error) {
		if l.channel, err = conn.Channel(); err != nil {
			return err
		}
		l.closed = l.channel.NotifyClose(make(chan *amqp.Error, 1))
		l.cancelled = l.channel.NotifyCancel(make(chan string, 1))
		if err = l.channel.Qos(sub.prefetch, 0, false); err != nil {
			return err
		}
		l.deliveries, err = l.channel.Consume(s.names.Queue, l.tag, false, false, false, false, nil)
		return err
	})
	if err != nil {
		l.end()
		if l.quorum && errors.Is(err, rabbit.ErrNoAnswer) {
			err = fmt.Errorf("%w: %w", errQuiet, err)
		}
		return nil, fmt.Errorf("consume queue %q: %w", s.names.Queue, err)
	}
	return l, nil
}

// pump hands deliveries out until ctx ends; it returns an error when the link
// is lost before. It takes what the library has at once, so that the window
// knows of all that is in memory.
func (l *link) pump(ctx context.Context, out chan<- inbox.Delivery) error {
	in, cancelled := l.deliveries, l.cancelled
	quiet := time.NewTimer(l.source.quietLimit)
	defer quiet.Stop()
	for {
		reading, closed := in, l.closed
		if l.asked != nil { // the end of the channel is an answer, too
			reading, closed = nil, nil
		}
		var offer chan<- inbox.Delivery
		var next inbox.Delivery
		if len(l.waiting) > 0 {
			offer, next = out, l.waiting[0]
		}
		select {
		case <-ctx.Done():
			return nil
		case d, open := <-reading:
			if !open {
				in = nil // the reason is on its way
				continue
			}
			l.receive(d)
			quiet.Reset(l.source.quietLimit)
		case <-quiet.C:
			if l.mayAsk() {
				l.ask()
			} else {
				quiet.Reset(l.source.quietLimit)
			}
		case a := <-l.asked:
			if err := l.answered(a); err != nil {
				return err
			}
			quiet.Reset(l.source.quietLimit)
		case offer <- next:
			l.waiting[0] = inbox.Delivery{}
			l.waiting = l.waiting[1:]
		case failed := <-l.renewal.failed:
			l.waiting = append(l.waiting, failed...)
		case reason := <-closed:
			return lost(reason)
		case _, sent := <-cancelled:
			if sent {
				return errCancelled
			}
			cancelled = nil // the channel has ended, and the reason is on its way
		}
	}
}

var errCancelled = errors.New("consumer cancelled by the broker, as when its queue is deleted or moved")

func lost(reason *amqp.Error) error {
	switch {
	case reason == nil:
		return rabbit.ErrLost
	case !reason.Server && strings.Contains(reason.Reason, amqp.ErrFrameTooLarge.Reason):
		return fmt.Errorf("channel closed: %w; a message whose headers fill a frame grows beyond it when the broker adds its own: "+
			"raise frame_max in the broker's configuration, or remove the message with the broker's tools", reason)
	case reason.Server && reason.Code == amqp.PreconditionFailed && strings.Contains(reason.Reason, "timed out"):
		return fmt.Errorf("channel closed: %w; a handler, or an outage of what it needs, took longer than the broker's consumer_timeout: "+
			"what is unacknowledged is delivered again", reason)
	}
	return fmt.Errorf("channel closed: %w", reason)
}

// receive notes a delivery, and queues it to be handed out.
func (l *link) receive(d amqp.Delivery) {
	l.lastTag = d.DeliveryTag
	size := rabbit.DeliverySize(&d)
	l.window.add(size)
	l.unacked.add(d.DeliveryTag, size)
	delivery := l.source.decode(d)
	delivery.Handle = &handle{link: l, raw: d}
	if n := returns(d); n > 0 {
		l.source.noteReturns(l, d, n)
		if n >= manyReturns || !l.deadLetters {
			// It came back by a crash or a lost connection, and may do so again,
			// until it exceeds a limit.
			l.renewal.add(delivery)
			return
		}
	}
	l.waiting = append(l.waiting, delivery)
}

// windDown ends the intake, requeues what was received and not handed out, and
// waits until all that was handed out is settled. It calls requeued before it waits.
func (l *link) windDown(requeued func()) error {
	if l.source.life.Err() != nil {
		return nil // closing the connection returns everything
	}
	l.window.lift()
	if err := l.awaitAnswer(); err != nil { // the library takes one request of a channel at a time
		return err
	}
	err := l.conn.Do(l.source.life, func() error { return l.channel.Cancel(l.tag, false) })
	if err != nil {
		return fmt.Errorf("cancel consumer: %w", err)
	}
	for d := range l.deliveries {
		l.receive(d)
	}
	l.waiting = append(l.waiting, l.renewal.stop()...)
	if err := l.requeueWaiting(); err != nil {
		return fmt.Errorf("requeue deliveries: %w", err)
	}
	l.unacked.seal()
	requeued()
	select {
	case <-l.unacked.empty:
	case <-l.source.life.Done():
	case reason := <-l.closed:
		return lost(reason)
	}
	return nil
}

// requeueWaiting requeues what was not handed out.
func (l *link) requeueWaiting() error {
	var returns, copies []reservation
	for i, d := range l.waiting {
		h := d.Handle.(*handle)
		if !l.unacked.reserve(h.raw.DeliveryTag) {
			continue
		}
		if h.returnCounts() {
			copies = append(copies, reservation{i, h})
		} else {
			returns = append(returns, reservation{i, h})
		}
	}
	outcomes := make([]error, len(l.waiting))
	settle(returns, (*link).requeue, outcomes)
	l.source.requeueCopies(l.source.life, copies, outcomes)
	l.waiting = nil
	return errors.Join(outcomes...)
}

// end makes every delivery of the link stale.
func (l *link) end() {
	l.window.lift()
	l.stopAsking()
	l.asking.Wait()
	l.renewal.stop()
	l.unacked.kill()
}

// acknowledge, acknowledgeNow, requeue and reject settle reserved tags.
func (l *link) acknowledge(tags []uint64) error    { return l.unacked.acknowledge(tags) }
func (l *link) acknowledgeNow(tags []uint64) error { return l.unacked.settle(tags, l.ack) }
func (l *link) requeue(tags []uint64) error        { return l.unacked.settle(tags, l.nack) }
func (l *link) reject(tags []uint64) error         { return l.unacked.settle(tags, l.drop) }

func (l *link) ack(tag uint64, multiple bool) error  { return l.channel.Ack(tag, multiple) }
func (l *link) nack(tag uint64, multiple bool) error { return l.channel.Nack(tag, multiple, true) }

// drop has the broker dead-letter a delivery, and is only for a queue that
// dead-letters what leaves it.
func (l *link) drop(tag uint64, multiple bool) error { return l.channel.Nack(tag, multiple, false) }
