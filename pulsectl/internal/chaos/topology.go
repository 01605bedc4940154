package chaos

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/netfault"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
)

// quiet is how long after a link was cut the broker may still work on what had
// come from it.
const quiet = 500 * time.Millisecond

// fillFor is how long a queue without consumers fills before it is deleted.
const fillFor = time.Second

// brokerLinks returns the links to the broker of the processes whose names begin so.
func (s *system) brokerLinks(prefix string) (links []*netfault.Proxy) {
	for name, link := range s.links {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, ">"+brokerName) {
			links = append(links, link)
		}
	}
	return links
}

func partition(links []*netfault.Proxy) {
	for _, link := range links {
		link.Partition()
	}
}

func restore(links []*netfault.Proxy) {
	for _, link := range links {
		link.Restore()
	}
}

// deleteQueue deletes the consumer's queues with what they hold, all but the dead
// letters. Nothing promises that a deleted queue's messages arrive: someone has to
// publish them again. So that the history can name them, and only them, nobody
// publishes or consumes from before the deletion until the consumers have declared
// the queues again.
func (s *system) deleteQueue(ctx context.Context) (Healing, error) {
	relays, consumers := s.brokerLinks("relay"), s.brokerLinks("consumer")
	defer restore(relays)
	defer restore(consumers)
	partition(consumers)
	if err := s.awaitConsumers(ctx, func(n int) bool { return n == 0 }); err != nil {
		return nil, err
	}
	// An empty queue would be no loss.
	if err := pause(ctx, fillFor); err != nil {
		return nil, err
	}
	partition(relays)
	if err := pause(ctx, quiet); err != nil {
		return nil, err
	}
	held, err := s.takeQueues()
	if err != nil {
		return nil, err
	}
	restore(consumers)
	if err := s.awaitConsumers(ctx, func(n int) bool { return n > 0 }); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		again, err := s.publishAgain(ctx, held)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.restored = append(s.restored, again...)
		return err
	}, nil
}

// takeQueues deletes the consumer's queues, and returns the events that were in
// them.
func (s *system) takeQueues() (held []string, err error) {
	err = s.channel(func(ch *amqp.Channel) error {
		names := rabbitmq.QueueNames(s.queue, s.source().RetryDelays)
		// What waits for a retry goes to the main queue, which is the last.
		var queues []string
		for _, retry := range names.Retry {
			queues = append(queues, retry.Queue)
		}
		for _, queue := range append(queues, names.Queue) {
			for {
				d, ok, err := ch.Get(queue, true)
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				held = append(held, d.MessageId)
			}
			switch n, err := ch.QueueDelete(queue, false, false, false); {
			case err != nil:
				return err
			case n > 0:
				return fmt.Errorf("queue %s had %d messages more when it was deleted", queue, n)
			}
		}
		return nil
	})
	return held, err
}

// deleteExchange deletes the exchange and with it all bindings. Consumers, who would
// bind their queue again, cannot connect meanwhile: what is published has no queue,
// and stays in the outbox.
func (s *system) deleteExchange(ctx context.Context) (Healing, error) {
	relays, consumers := s.brokerLinks("relay"), s.brokerLinks("consumer")
	remove := func(ch *amqp.Channel) error { return ch.ExchangeDelete(s.exchange, false, false) }
	partition(consumers)
	heal := func(ctx context.Context) error {
		defer restore(relays)
		defer restore(consumers)
		// Until both queues are bound nothing may be published: the observer, or the
		// consumer, would miss it. Relays may have declared the exchange again.
		partition(relays)
		if err := pause(ctx, quiet); err != nil {
			return err
		}
		return s.channel(func(ch *amqp.Channel) error {
			if err := remove(ch); err != nil {
				return err
			}
			if err := DeclareTap(ch, s.exchange, s.tapQueue()); err != nil {
				return err
			}
			return ch.QueueBind(s.queue, process.PlacedTopic, s.exchange, false, nil)
		})
	}
	if err := s.awaitConsumers(ctx, func(n int) bool { return n == 0 }); err != nil {
		return heal, err
	}
	if err := pause(ctx, quiet); err != nil {
		return heal, err
	}
	return heal, s.channel(remove)
}

// channel calls do with a channel of the observer's.
func (s *system) channel(do func(*amqp.Channel) error) error {
	conn, err := dial(s.broker())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return do(ch)
}

// awaitConsumers waits until the number of those who consume or hold messages of the
// queues is right.
func (s *system) awaitConsumers(ctx context.Context, right func(int) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("the consumers of the queues have not changed within %v", startLimit))
	defer cancel()
	return waitFor(ctx, func() (bool, error) {
		d, err := s.depths(ctx)
		return err == nil && right(d.Holders), nil
	})
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *system) deleteQueues() error {
	conn, err := dial(s.broker())
	if err != nil {
		return fmt.Errorf("exchange and queues %s are left behind: %w", s.exchange, err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	source := s.source()
	names := rabbitmq.QueueNames(s.queue, source.RetryDelays)
	queues := []string{s.tapQueue(), names.Queue, names.DeadLetters}
	for _, retry := range names.Retry {
		queues = append(queues, retry.Queue)
	}
	var errs []error
	for _, queue := range queues { // deleting what does not exist is no error
		_, err := ch.QueueDelete(queue, false, false, false)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, ch.ExchangeDelete(s.exchange, false, false))...)
}
