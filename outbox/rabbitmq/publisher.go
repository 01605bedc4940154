package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/telemetry"
	"github.com/asimalizada/pulse-events/outbox"
)

// connectWait is how long Publish waits for a connection that is being made:
// long enough to ride over a broker's restart of a listener, short enough for
// the relay to say soon what is wrong.
const connectWait = time.Second

// ErrClosed says that the publisher has been closed.
var ErrClosed = errors.New("publisher is closed")

// Producer returns the name that messages are published under.
func (p *Publisher) Producer() string { return p.cfg.Producer }

// Publisher is an outbox.Publisher on RabbitMQ. It is safe for concurrent use.
// Order is kept for each routing key within one call of Publish; calls at the same
// time go over channels of their own.
type Publisher struct {
	cfg    PublisherConfig
	bound  *bindings       // nil: there are no audiences
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	joined sync.WaitGroup // the supervisor, and calls of Publish

	mu      sync.Mutex
	closed  bool
	current *session      // nil while there is no connection
	lastErr error         // why there is none
	changed chan struct{} // closed and replaced when current changes
}

var (
	_ outbox.Publisher = (*Publisher)(nil)
	_ outbox.Pinger    = (*Publisher)(nil)
	_ outbox.Describer = (*Publisher)(nil)
)

// NewPublisher checks cfg, reporting all problems at once, and begins to
// connect. That the broker is down is no error: it is connected to when it is
// up. The caller closes the publisher, after the relay that uses it.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("rabbitmq publisher: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{
		cfg: cfg.withDefaults(), ctx: ctx, cancel: cancel,
		lastErr: errors.New("connecting"), changed: make(chan struct{}),
	}
	if len(p.cfg.Audiences) > 0 {
		p.bound = newBindings(ctx, &p.cfg)
	}
	connection := p.cfg.connection()
	connection.Meter = telemetry.Meter(cfg.MeterProvider, telemetry.OutboxRabbitMQ)
	connection.OnFailure = func(err error) { p.setSession(nil, err) }
	p.joined.Go(func() { rabbit.Supervise(ctx, connection, p.serve) })
	return p, nil
}

// Publish implements outbox.Publisher. Verdicts are of the class
//
//   - nil: confirmed by the broker and routed to at least one queue, or to all
//     that Audiences names, or to none where AllowUnroutable allows it;
//   - outbox.ErrRejected: refused (nacked) within StallTimeout, as by a full queue;
//     or not allowed under this routing key; or the broker failed over this message
//     alone;
//   - outbox.ErrUnroutable: no queue is bound for it;
//   - outbox.ErrPermanent: does not fit AMQP, is more than this broker takes, or
//     the Codec cannot encode it;
//   - outbox.ErrUnavailable: anything else, as no connection within a second, a
//     broker that blocks, a missing exchange, a connection lost before the
//     verdict, no confirm in time, or a refusal after that, a queue of Audiences
//     that is not bound, or ctx ended.
//
// A routing key whose messages get no confirm for StallTimeout, as that of a queue
// without a majority, makes its own messages unavailable and no others. They are
// not sent again while their confirms may still come.
//
// A message for which the broker closes the channel or the connection takes
// the verdicts of those beside it along. They are then sent again one by one
// over a connection of their own, which shows which it was; what had already
// arrived arrives twice.
func (p *Publisher) Publish(ctx context.Context, msgs []outbox.Message) []error {
	results := make([]error, len(msgs))
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return fill(results, outbox.Unavailable(err))
	}
	defer leave()
	s, err := p.session(ctx)
	if err != nil {
		return fill(results, outbox.Unavailable(err))
	}
	publishings := make([]rabbit.Publishing, 0, len(msgs))
	places := make([]int, 0, len(msgs))
	audience := p.audience(ctx, s, msgs)
	for i := range msgs {
		publishing, err := p.encode(&msgs[i])
		if err == nil {
			err = audience.before(msgs[i].Topic, publishing.Key)
		}
		if err != nil {
			results[i] = err
			continue
		}
		publishings, places = append(publishings, publishing), append(places, i)
	}
	verdicts := p.publish(ctx, s, publishings)
	for n, verdict := range verdicts {
		results[places[n]] = audience.after(msgs[places[n]].Topic, publishings[n].Key, verdict)
	}
	return results
}

// publish publishes msgs over s, but for those whose confirms may still come
// from an earlier call, and returns what became of each.
func (p *Publisher) publish(ctx context.Context, s *session, msgs []rabbit.Publishing) []error {
	results := make([]error, len(msgs))
	began := time.Now()
	recalled := s.late.recall(msgs, began)
	if len(recalled) == 0 {
		p.send(ctx, s, msgs, results)
		return results
	}
	var fresh []rabbit.Publishing
	var places []int
	for i, publishing := range msgs {
		if recalled[i] == nil {
			fresh, places = append(fresh, publishing), append(places, i)
		}
	}
	answers := make([]error, len(fresh))
	p.send(ctx, s, fresh, answers)
	for n, i := range places {
		results[i] = answers[n]
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(p.cfg.StallTimeout))
	defer cancel()
	for i, unknown := range recalled {
		results[i] = p.classify(msgs[i].Key, s.late.await(ctx, msgs[i].MessageId, unknown))
	}
	return results
}

// send publishes msgs over s and puts the verdicts into results. Topics whose
// messages are stuck behind one of another topic get channels of their own.
func (p *Publisher) send(ctx context.Context, s *session, msgs []rabbit.Publishing, results []error) {
	if len(msgs) == 0 {
		return
	}
	channel, err := s.acquire(ctx)
	if err != nil {
		fill(results, outbox.Unavailable(err))
		return
	}
	verdicts := channel.Publish(ctx, msgs)
	spent := channel.Err()
	s.release(channel, msgs, verdicts)
	p.sendApart(ctx, s, msgs, verdicts)
	for i, verdict := range verdicts {
		results[i] = p.classify(msgs[i].Key, verdict)
	}
	switch {
	case rabbit.ExchangeMissing(spent):
		s.end(fmt.Errorf("exchange %q is missing: %w", p.cfg.Exchange, spent))
	case rabbit.Blamed(spent) != rabbit.BlameNobody:
		p.isolate(ctx, msgs, verdicts, results)
	}
}

// pingTimeout is how long a broker may take for the answer to Ping.
const pingTimeout = 5 * time.Second

var errNoPong = errors.New("the broker says nothing")

// Ping implements outbox.Pinger: it asks the broker for the exchange, over the
// connection that publishes. Where the broker says nothing for 5 s, or
// ConfirmTimeout if that is less, the connection is held to be stuck and made
// again: RabbitMQ stops reading from one that pours more into a queue than that
// takes.
func (p *Publisher) Ping(ctx context.Context) error {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	p.mu.Lock()
	s, lastErr := p.current, p.lastErr
	p.mu.Unlock()
	if s == nil {
		return fmt.Errorf("not connected: %w", lastErr)
	}
	if reason, _ := s.conn.Blocked(); reason != "" {
		return rabbit.BlockedError(reason)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pingTimeout, errNoPong)
	defer cancel()
	err = s.conn.EnsureExchange(ctx, rabbit.Verify, p.exchange())
	if errors.Is(err, errNoPong) {
		s.end(err)
	}
	return err
}

func (p *Publisher) exchange() rabbit.Exchange {
	return rabbit.Exchange{Name: p.cfg.Exchange, Kind: p.cfg.ExchangeType}
}

// Endpoint implements outbox.Describer: the exchange and, while there is a
// connection, the broker it leads to.
func (p *Publisher) Endpoint() outbox.Endpoint {
	e := outbox.Endpoint{System: rabbit.System, Destination: p.cfg.Exchange}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current != nil {
		e.Address, e.Port = p.current.conn.Server()
	}
	return e
}

// Health returns whether messages can be published at present, as far as is
// known, and if not, why. While the broker blocks publishing there is a
// connection and an error. It has no counters, as the relay has them: the result
// is two values, and not a struct like outbox.Health.
func (p *Publisher) Health() (connected bool, lastErr error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return false, p.lastErr
	}
	if reason, _ := p.current.conn.Blocked(); reason != "" {
		return true, rabbit.BlockedError(reason)
	}
	return true, nil
}

// Close ends the connection and every call of Publish, whose messages without
// a verdict are unavailable, and returns when nothing of the publisher runs
// any more. It may be called more than once. The error is always nil.
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.joined.Wait()
	if p.bound != nil {
		p.bound.close()
	}
	p.setSession(nil, ErrClosed)
	return nil
}

// enter ties ctx to the publisher's life.
func (p *Publisher) enter(ctx context.Context) (_ context.Context, leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	p.joined.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.ctx, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		p.joined.Done()
	}, nil
}

// serve is one session of the supervised connection.
func (p *Publisher) serve(ctx context.Context, conn *rabbit.Conn) error {
	lost := conn.Lost()
	if err := conn.EnsureExchange(ctx, rabbit.TopologyMode(p.cfg.Topology), p.exchange()); err != nil {
		return err
	}
	s := newSession(conn, &p.cfg)
	p.setSession(s, nil)
	var err error
	select {
	case err = <-lost:
	case err = <-s.ended:
	case <-ctx.Done():
		err = ErrClosed
	}
	p.setSession(nil, err)
	return err
}

func (p *Publisher) setSession(s *session, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current, p.lastErr = s, err
	close(p.changed)
	p.changed = make(chan struct{})
}

// session returns the connection in use, for which it waits a little.
func (p *Publisher) session(ctx context.Context) (*session, error) {
	timer := time.NewTimer(connectWait)
	defer timer.Stop()
	for {
		p.mu.Lock()
		s, lastErr, changed := p.current, p.lastErr, p.changed
		p.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.Join(context.Cause(ctx), lastErr)
		case <-timer.C:
			return nil, fmt.Errorf("not connected: %w", lastErr)
		}
	}
}

func fill(results []error, err error) []error {
	for i := range results {
		results[i] = err
	}
	return results
}
