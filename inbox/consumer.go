package inbox

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// Consumer moves deliveries from a source through a handler: each effect is
// applied once, and a delivery is acknowledged only after that is committed.
//
// Its goroutines: Run reads the source and deals deliveries to workers by key;
// each worker (see worker.go) gathers batches, applies and settles them, with
// its handlers in a goroutine of their own; one repeats settlements that failed;
// one purges; one checks whether the database would accept a message; one
// reports how many messages are held.
//
// Locks are taken in this order: solo; telling, with locks or stuck inside;
// monitor. All others (of a supervisor, tracker, countingSource, settler,
// unbatched) are held for a few statements and take no further lock. None but
// solo is held while the database or the source is called; telling is held while
// a line is logged.
type Consumer struct {
	in        *Inbox // nil: fn claims elsewhere, or not at all
	source    *countingSource
	handler   Handler                                      // nil: fn
	fn        func(ctx context.Context, msg Message) error // claims for itself
	cfg       ConsumerConfig
	settler   *settler
	tracing   tracing
	metrics   *consumerMetrics
	monitor   monitor
	locks     locks
	unbatched unbatched
	stuck     stuckHandlers
	began     atomic.Bool
	telling   sync.Mutex
	active    atomic.Int32 // groups on their way through a transaction
	ended     atomic.Int64 // those that have come through one, or failed
	seen      int64        // of them, at the last look

	// solo is held shared while messages are handled, and alone for one that
	// may have crashed the process: what runs beside it would be counted too.
	solo sync.RWMutex
}

// NewConsumer returns a consumer that applies the messages of s with h, in
// batches that share a transaction. An error names every bad setting.
func NewConsumer(in *Inbox, s Source, h Handler, cfg ConsumerConfig) (*Consumer, error) {
	var problems []error
	if in == nil {
		problems = append(problems, errors.New("Inbox: is nil; see NewConsumerFunc for handlers that claim for themselves"))
	}
	if h == nil {
		problems = append(problems, errors.New("Handler: is nil"))
	}
	if cfg.Inbox != nil && cfg.Inbox != in {
		problems = append(problems, errors.New("Inbox: is not the one given to NewConsumer; leave it out"))
	}
	cfg.Inbox = in
	return newConsumer(&Consumer{handler: h}, s, cfg, problems)
}

// NewConsumerFunc returns a consumer for handlers that call Inbox.Claim in a
// transaction of their own (GORM, bun, ent, pgx). Name their inbox as
// ConsumerConfig.Inbox; then database outages, crash loops, duplicates, locked
// events and old rows are treated as by NewConsumer. Without one, for handlers
// that need no inbox, crash loops are not recognised, nothing is purged, and
// only errors that are clearly a database's outage hold a message.
//
// Begin the transaction, claim with the handler's context before anything else,
// and return errors as they are, or wrapped. nil acknowledges, so return it only
// after the commit: if a claim made with the handler's context has failed or is
// not committed then, the message has failed, with a MisuseError. An error
// after the commit dead-letters the message at once, as another attempt would
// take it for a duplicate. Other errors are interpreted as those of a Handler,
// with these differences, as the consumer does not see the transaction:
//
//   - An error before the claim, such as that of beginning a transaction, counts
//     as a failure only if the database is ready (Inbox.CheckReady).
//   - An error that says a connection was lost, whoever's it was, has the message
//     handled again at once if the database answers: twice at most after the
//     claim, and five times before it.
//
// Messages are handled one by one in each worker.
func NewConsumerFunc(s Source, fn func(ctx context.Context, msg Message) error, cfg ConsumerConfig) (*Consumer, error) {
	var problems []error
	if fn == nil {
		problems = append(problems, errors.New("fn: is nil"))
	}
	if cfg.BatchSize == 0 {
		cfg.BatchSize = 1
	}
	if cfg.BatchSize > 1 {
		problems = append(problems, fmt.Errorf("BatchSize: %d; a handler that claims for itself takes 1", cfg.BatchSize))
	}
	return newConsumer(&Consumer{fn: fn}, s, cfg, problems)
}

func newConsumer(c *Consumer, s Source, cfg ConsumerConfig, problems []error) (*Consumer, error) {
	if s == nil {
		problems = append(problems, errors.New("Source: is nil"))
	}
	cfg, err := cfg.withDefaults()
	if err := errors.Join(append(problems, err)...); err != nil {
		return nil, fmt.Errorf("inbox: consumer settings:\n%w", err)
	}
	c.in, c.source, c.cfg = cfg.Inbox, newCountingSource(s), cfg
	c.tracing = tracing{spans: telemetry.NewSpans(cfg.TracerProvider, telemetry.Inbox), source: s, consumer: c.name(), continues: cfg.ContinueTrace}
	c.metrics = newConsumerMetrics(cfg.MeterProvider, s, c.name())
	c.settler = newSettler(c.source, &c.monitor, c.log, &c.tracing, c.metrics)
	c.monitor.h = Health{State: Starting, Since: time.Now()}
	return c, nil
}

// Health returns the consumer's state and counters. Safe for concurrent use.
func (c *Consumer) Health() Health { return c.monitor.read() }

// errShutdownLimit is the cause of contexts that end with
// ConsumerConfig.ShutdownTimeout.
var errShutdownLimit = errors.New("inbox: work in flight took longer than ShutdownTimeout")

// Run consumes until ctx ends, finishes what is in flight, requeues the rest
// and returns nil; nothing of the consumer runs then. Handlers that still run
// after ShutdownTimeout have their context ended and their message requeued.
// If one does not return within five seconds of that it is abandoned, and the
// error names its event.
//
// Run does not return because the database or the broker is unavailable. It does
// with ErrSchema when the tables are missing at the start, and with the error of
// a source that retrying cannot mend. A consumer runs once, so that its Health
// and counters are those of one run (a relay, which holds no handlers that could
// have been left behind, may run again).
func (c *Consumer) Run(ctx context.Context) (err error) {
	if !c.began.CompareAndSwap(false, true) {
		return errors.New("inbox: the consumer has been run already; make a new one")
	}
	defer func() {
		c.monitor.change(func(h *Health) {
			h.State, h.LastError = Stopped, err
		})
	}()
	if err := c.checkSchema(ctx); err != nil {
		return err
	}
	defer c.metrics.watch(c.source)()
	deliveries, err := c.source.Consume(ctx, c.cfg.Prefetch)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil
	case err != nil:
		return fmt.Errorf("inbox: consume: %w", err)
	}
	c.monitor.change(func(h *Health) { h.State = Running })
	c.work(ctx, deliveries)
	err = nil
	if ctx.Err() == nil {
		err = errors.New("inbox: the source has stopped delivering")
	}
	if stuck := c.stuck.err(); stuck != nil {
		err = errors.Join(err, fmt.Errorf("inbox: %w", stuck))
	}
	return err
}

// checkSchema fails on a database that answers and lacks the tables. One that
// does not answer is waited for once there is a message.
func (c *Consumer) checkSchema(ctx context.Context) error {
	if c.in == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	switch err := c.in.CheckSchema(ctx); {
	case errors.Is(err, ErrSchema):
		return fmt.Errorf("inbox: %w", err)
	case err != nil:
		c.cfg.Logger.WarnContext(ctx, "inbox: the database does not answer yet", "consumer", c.name(), "error", err)
	}
	return nil
}

// work deals deliveries out to the workers until the source closes, and
// returns when all is settled or the shutdown limit has passed.
func (c *Consumer) work(ctx context.Context, deliveries <-chan Delivery) {
	inFlight, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)

	var working, settling, others sync.WaitGroup
	handled, finished := make(chan struct{}), make(chan struct{})
	others.Go(func() { limitShutdown(ctx, c.cfg.ShutdownTimeout, handled, finished, cut) })
	settling.Go(func() { c.settler.run(inFlight, handled) })
	others.Go(func() {
		c.every(ctx, probeInterval, handled, func(ctx context.Context) error { c.look(ctx); return nil })
	})
	if c.in != nil && c.cfg.Retention != KeepForever {
		others.Go(func() { c.every(ctx, c.cfg.PurgeInterval, handled, c.purge) })
	}
	if c.in != nil {
		others.Go(func() { c.report(ctx, finished) })
	}

	workers := make([]*worker, c.cfg.Workers)
	for i := range workers {
		workers[i] = newWorker(c, ctx.Done())
		working.Go(func() { workers[i].live(inFlight) })
	}
	seed := maphash.MakeSeed()
	for d := range deliveries {
		d = c.source.take(d)
		c.metrics.received(ctx)
		d.Message.Attempt = d.Failures + 1
		key := d.Message.Key
		if key == "" {
			key = d.Message.ID
		}
		workers[maphash.String(seed, key)%uint64(len(workers))].queue <- d
	}
	for _, w := range workers {
		close(w.queue)
	}
	working.Wait()
	close(handled)
	settling.Wait()
	close(finished)
	others.Wait()
}

// limitShutdown cuts what is in flight when it is not finished within the
// limit after ctx has ended, or after the source has.
func limitShutdown(ctx context.Context, limit time.Duration, handled, finished <-chan struct{}, cut context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-handled:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-timer.C:
		cut(errShutdownLimit)
	case <-finished:
	}
}

// report records in the database what is held until all is settled.
func (c *Consumer) report(ctx context.Context, finished <-chan struct{}) {
	newReporter(c.in, c.source).run(ctx, finished, func(err error) {
		c.cfg.Logger.WarnContext(ctx, "inbox: this instance cannot say in the database what it holds; pulsectl verify will not take it for idle",
			"consumer", c.in.consumer, "error", err)
	})
}

// name is the consumer's in logs.
func (c *Consumer) name() string {
	if c.in == nil {
		return ""
	}
	return c.in.consumer
}
