package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// ErrClosed says that the Source was closed.
var ErrClosed = errors.New("source is closed")

// Source is an inbox.Source on RabbitMQ. Make one with NewSource; it is safe
// for concurrent use.
type Source struct {
	cfg         SourceConfig
	names       Names
	republisher *republisher
	patience    time.Duration // see refusalPatience
	quietLimit  time.Duration // see the constants
	answerLimit time.Duration
	unaskable   atomic.Bool // the queue refuses basic.get, as one with a single active consumer does
	life        context.Context
	stop        context.CancelFunc
	wg          sync.WaitGroup // one for each Consume
	requeues    sync.WaitGroup // one for each link that requeues what nobody received; none is added once closed

	mu            sync.Mutex
	closed        bool
	links         map[*link]struct{} // that the broker serves
	lastErr       error              // why there is none
	warned        map[string]bool    // warnings that were logged
	returnedOften error              // a delivery that keeps coming back
	returnedAt    time.Time          // when that was
}

var (
	_ inbox.Source    = (*Source)(nil)
	_ inbox.Describer = (*Source)(nil)
)

// NewSource checks cfg and returns a Source that connects when it is consumed.
// The error names everything that is wrong with cfg, and never the password.
func NewSource(cfg SourceConfig) (*Source, error) {
	cfg = cfg.withDefaults()
	if err := cfg.problems(); err != nil {
		return nil, fmt.Errorf("rabbitmq source: %w", err)
	}
	s := &Source{cfg: cfg, names: QueueNames(cfg.Queue, cfg.RetryDelays), patience: refusalPatience, quietLimit: quietLimit, answerLimit: answerLimit,
		links: make(map[*link]struct{}), warned: make(map[string]bool)}
	s.life, s.stop = context.WithCancel(context.Background())
	s.republisher = newRepublisher(s.life, cfg.connection(forRepublishing), cfg.ConfirmTimeout, s.ensureFailureQueues)
	return s, nil
}

// Names returns the names of the source's queues.
func (s *Source) Names() Names { return s.names }

// Consume subscribes to the queue over a connection of its own and returns once
// the broker has accepted, however long that takes, or ctx has ended, in which
// case the channel is closed. prefetch is between 1 and 65535.
//
// When the connection, the channel or the queue is lost it subscribes anew,
// for ever; deliveries from before are then stale. Once ctx has ended it requeues
// what nobody has received, and keeps the connection until the rest is
// settled or the Source is closed.
//
// An error means that the broker has exchange or queue with other settings; it
// names the difference and how to resolve it. Differences that are found later
// are logged and shown by Health.
func (s *Source) Consume(ctx context.Context, prefetch int) (<-chan inbox.Delivery, error) {
	if prefetch < 1 || prefetch > math.MaxUint16 {
		return nil, fmt.Errorf("prefetch: %d; must be between 1 and %d", prefetch, math.MaxUint16)
	}
	sub := newSubscription(s, prefetch)
	intake, stop := context.WithCancel(ctx)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		stop()
		return nil, ErrClosed
	}
	s.wg.Go(func() {
		defer stop()
		defer context.AfterFunc(s.life, stop)()
		sub.run(intake, stop)
	})
	s.mu.Unlock()

	select {
	case <-sub.accepted:
		return sub.out, nil
	case err := <-sub.refused:
		return nil, err
	case <-ctx.Done():
		return sub.out, nil
	case <-s.life.Done():
		return nil, ErrClosed
	}
}

// Health reports whether the broker serves a subscription, and what is wrong:
// without one, the last error; with one, messages that no queue takes, or that
// come back so often that a delivery limit may end them. It has no counters, as
// the consumer has them: the result is two values, and not a struct like
// inbox.Health.
func (s *Source) Health() (connected bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.links) == 0 {
		return false, s.lastErr
	}
	stuck := 0
	for l := range s.links {
		stuck += len(l.stuck)
		for _, why := range l.stuck {
			err = why
		}
	}
	switch {
	case stuck > 0:
		return true, fmt.Errorf("%w: %d hold their place in the prefetch: %w", errCannotMove, stuck, err)
	case time.Since(s.returnedAt) < returnsNotice:
		return true, s.returnedOften
	}
	return true, s.lastErr
}

// What strangers may read of it.
const (
	errCannotMove health.Public = "messages cannot be moved to a retry or dead-letter queue"
	errComesBack  health.Public = "messages keep coming back"
)

// returnsNotice is for how long health tells of deliveries that keep coming back.
const returnsNotice = time.Minute

// noteReturns notes a delivery that the broker says has come back n times. Once is a
// connection that was lost.
func (s *Source) noteReturns(l *link, d amqp.Delivery, n int64) {
	if n < manyReturns {
		return
	}
	end := "deletes"
	if l.deadLetters {
		end = "dead-letters"
	}
	err := fmt.Errorf("%w: message %q has come back %d times (x-delivery-count), by crashes or lost connections of its consumers: "+
		"if a policy sets a delivery limit, the broker %s what exceeds it", errComesBack, d.MessageId, n, end)
	s.mu.Lock()
	quiet := time.Since(s.returnedAt) < returnsNotice
	s.returnedOften, s.returnedAt = err, time.Now()
	s.mu.Unlock()
	if !quiet {
		s.cfg.Logger.Warn("deliveries keep coming back", "queue", s.names.Queue, "error", err)
	}
}

// cannotMove and moved record the messages that no queue takes.
func (s *Source) cannotMove(h *handle, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.link.stuck[h.raw.DeliveryTag] = why
}

func (s *Source) moved(h *handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(h.link.stuck, h.raw.DeliveryTag)
}

// Status says what the source reads and whether the broker serves it, for the
// list of instances that the inbox keeps.
func (s *Source) Status() inbox.SourceStatus {
	connected, _ := s.Health()
	return inbox.SourceStatus{Queue: s.cfg.Queue, RetryDelays: s.cfg.RetryDelays, Subscribed: connected}
}

// Endpoint implements inbox.Describer: the queue and, while the broker serves a
// subscription, that broker.
func (s *Source) Endpoint() inbox.Endpoint {
	e := inbox.Endpoint{System: rabbit.System, Destination: s.cfg.Queue}
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		e.Address, e.Port = l.conn.Server()
		break
	}
	return e
}

// requeueLimit is how long Close lets subscriptions that have ended requeue what
// nobody received. Cut off, they would leave copies in the queue beside the
// originals, and the broker would count returns.
const requeueLimit = 5 * time.Second

// beginRequeue has Close wait until the returned function is called.
func (s *Source) beginRequeue() (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() {}
	}
	s.requeues.Add(1)
	return sync.OnceFunc(s.requeues.Done)
}

// Close ends all subscriptions and connections and returns when they are gone.
// What is unsettled by then goes back to the queue. Subscriptions whose context
// has ended get up to 5 s before, to requeue what nobody received.
func (s *Source) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	cut := time.AfterFunc(requeueLimit, s.stop)
	s.requeues.Wait()
	cut.Stop()
	s.stop()
	s.wg.Wait()
	s.republisher.close()
	return nil
}

// up notes a link that the broker serves; the function returned, its end.
func (s *Source) up(l *link) (down func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[l] = struct{}{}
	s.lastErr = nil
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.links, l)
	}
}

func (s *Source) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err
}
