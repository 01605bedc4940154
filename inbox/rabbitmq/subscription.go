package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// subscription is one call of Consume. It goes through any number of links.
type subscription struct {
	source   *Source
	prefetch int
	out      chan inbox.Delivery
	closeOut func()
	accepted chan struct{} // closed by the first link
	accept   func()
	refused  chan error // the reason why there will be none
}

func newSubscription(s *Source, prefetch int) *subscription {
	sub := &subscription{
		source:   s,
		prefetch: prefetch,
		out:      make(chan inbox.Delivery),
		accepted: make(chan struct{}),
		refused:  make(chan error, 1),
	}
	sub.closeOut = sync.OnceFunc(func() { close(sub.out) })
	sub.accept = sync.OnceFunc(func() { close(sub.accepted) })
	return sub
}

// run makes links until intake ends and the last link is done. stop ends the
// intake.
func (sub *subscription) run(intake context.Context, stop func()) {
	defer sub.closeOut()
	cfg := sub.source.cfg.connection("")
	cfg.OnFailure = sub.source.failed
	rabbit.Supervise(intake, cfg, func(ctx context.Context, conn *rabbit.Conn) error {
		l, err := sub.open(ctx, conn)
		if err != nil {
			if mismatch(err) && !sub.wasAccepted() {
				sub.refused <- err
				stop()
			}
			return err
		}
		defer l.ledger.kill()
		defer sub.source.up(l)()
		sub.accept()
		sub.source.cfg.Logger.InfoContext(ctx, "consuming", "queue", sub.source.names.Queue, "prefetch", sub.prefetch)
		if err := l.pump(ctx, sub.out); err != nil {
			return err
		}
		sub.closeOut()
		return l.windDown()
	})
}

func (sub *subscription) wasAccepted() bool {
	select {
	case <-sub.accepted:
		return true
	default:
		return false
	}
}

// link is a subscription on one channel. Deliveries are settled on the channel
// they came on or not at all: elsewhere their tags mean other messages.
type link struct {
	source     *Source
	conn       *rabbit.Conn
	channel    *amqp.Channel
	tag        string
	deliveries <-chan amqp.Delivery
	closed     <-chan *amqp.Error
	cancelled  <-chan string
	ledger     *ledger
}

// handle is what inbox.Delivery.Handle holds.
type handle struct {
	link *link
	raw  amqp.Delivery
}

// open subscribes on a connection.
func (sub *subscription) open(ctx context.Context, conn *rabbit.Conn) (*link, error) {
	s := sub.source
	if err := s.ensureAll(ctx, conn); err != nil {
		return nil, err
	}
	l := &link{source: s, conn: conn, tag: s.cfg.Consumer}
	l.ledger = newLedger(sub.prefetch, l.ack)
	err := conn.Do(ctx, func() (err error) {
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
		return nil, fmt.Errorf("consume queue %q: %w", s.names.Queue, err)
	}
	return l, nil
}

// pump hands deliveries out until ctx ends; it returns an error when the link
// is lost before.
func (l *link) pump(ctx context.Context, out chan<- inbox.Delivery) error {
	var (
		in    = l.deliveries
		offer chan<- inbox.Delivery
		next  inbox.Delivery
	)
	for {
		select {
		case <-ctx.Done():
			if offer != nil {
				l.takeBack(next.Handle.(*handle))
			}
			return nil
		case d, open := <-in:
			if !open {
				in = nil // the reason is on its way
				continue
			}
			next = l.receive(d)
			in, offer = nil, out
		case offer <- next:
			in, offer = l.deliveries, nil
		case reason := <-l.closed:
			return lost(reason)
		case <-l.cancelled:
			return errCancelled
		}
	}
}

var errCancelled = errors.New("consumer cancelled by the broker, as when its queue is deleted or moved")

func lost(reason *amqp.Error) error {
	if reason == nil {
		return rabbit.ErrLost
	}
	return fmt.Errorf("channel closed: %w", reason)
}

func (l *link) receive(d amqp.Delivery) inbox.Delivery {
	l.ledger.add(d.DeliveryTag)
	delivery := decode(d)
	delivery.Handle = &handle{l, d}
	return delivery
}

// takeBack returns a delivery to the queue that was not handed out after all.
func (l *link) takeBack(h *handle) {
	if l.ledger.claim(h.raw.DeliveryTag) {
		// An error is the link's end, which returns the delivery as well.
		_ = l.giveBack([]uint64{h.raw.DeliveryTag})
	}
}

// windDown ends the intake, gives back what the broker has sent and nobody
// has seen, and waits until all that was handed out is settled.
func (l *link) windDown() error {
	if l.source.life.Err() != nil {
		return nil // closing the connection gives everything back
	}
	err := l.conn.Do(l.source.life, func() error { return l.channel.Cancel(l.tag, false) })
	if err != nil {
		return fmt.Errorf("cancel consumer: %w", err)
	}
	for d := range l.deliveries {
		if err := l.nack(d.DeliveryTag, false); err != nil {
			return fmt.Errorf("give back deliveries: %w", err)
		}
	}
	l.ledger.seal()
	select {
	case <-l.ledger.empty:
	case <-l.source.life.Done():
	case reason := <-l.closed:
		return lost(reason)
	}
	return nil
}

// acknowledge, acknowledgeNow and giveBack settle claimed tags.
func (l *link) acknowledge(tags []uint64) error    { return l.ledger.acknowledge(tags) }
func (l *link) acknowledgeNow(tags []uint64) error { return l.ledger.settle(tags, l.ack) }
func (l *link) giveBack(tags []uint64) error       { return l.ledger.settle(tags, l.nack) }

func (l *link) ack(tag uint64, multiple bool) error  { return l.channel.Ack(tag, multiple) }
func (l *link) nack(tag uint64, multiple bool) error { return l.channel.Nack(tag, multiple, true) }
