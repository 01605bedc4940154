package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asimalizada/pulse-events/internal/backoff"
	"github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// Relay publishes the messages of an outbox to a broker. Any number of relays may
// serve one outbox; they share its buckets. Its goroutines are described in
// docs/relay.md.
type Relay struct {
	outbox    *Outbox
	publisher Publisher
	cfg       RelayConfig
	log       *slog.Logger
	store     *sqldb.Database // the outbox's, with settings for statements that run often
	spans     telemetry.Spans

	running atomic.Bool
	lanes   []*lane
	leases  *leaseManager
	outage  outage
	monitor *monitor
	metrics *relayMetrics
	unwatch func() // ends the collection of gauges; while it runs

	suspended suspensions
	pauses    pauses

	generations generations

	gate *gate         // which other relays of this process share; nil: none do
	idle chan struct{} // tells Drain that a lane has nothing to do at once
}

// ErrRunning is returned by Run and Drain while one of them runs, or while a lane
// of an earlier run still waits for a publisher that ignores its context.
var ErrRunning = errors.New("relay is running already")

// errShutdown is the cause of contexts that are cancelled after ShutdownTimeout.
var errShutdown = errors.New("relay's ShutdownTimeout has passed")

// NewRelay returns a relay that publishes the messages of o with p, which it does
// not close. It does not use the database or the broker yet. The error lists all
// invalid fields of cfg.
func NewRelay(o *Outbox, p Publisher, cfg RelayConfig) (*Relay, error) {
	cfg = cfg.withDefaults()
	if named, ok := p.(interface{ Producer() string }); ok && cfg.Producer == "" {
		cfg.Producer = named.Producer()
	}
	problems := []error{cfg.problems()}
	if o == nil {
		problems = append(problems, errors.New("the outbox is nil"))
	}
	if p == nil {
		problems = append(problems, errors.New("the publisher is nil"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("outbox: relay: %w", err)
	}
	r := &Relay{outbox: o, publisher: p, cfg: cfg, log: cfg.Logger.With("relay", cfg.Owner), idle: make(chan struct{}, 1),
		spans: telemetry.NewSpans(cfg.TracerProvider, telemetry.Outbox)}
	r.store = o.store.With(sqldb.Settings{
		Name: "pulse relay " + cfg.Owner, StatementTimeout: statementTimeout, LockTimeout: lockTimeout,
		IdleTimeout: max(cfg.LeaseTTL, leastIdleTimeout), ByIndex: true,
		Tables: []string{"outbox_messages", "outbox_leases", "outbox_relays", "outbox_pauses"},
	})
	r.monitor = newMonitor(r.log)
	r.metrics = newRelayMetrics(cfg.MeterProvider, cfg.name)
	for i := range cfg.Lanes {
		r.lanes = append(r.lanes, newLane(r, fmt.Sprintf("lane %d", i)))
	}
	r.leases = newLeaseManager(r)
	return r, nil
}

// Run publishes messages until ctx ends. It also starts while the database or the
// broker is down; it logs outages, retries, and does not return because of them.
// When ctx ends it reads no more messages, waits up to ShutdownTimeout for those
// that are being published, releases its leases and returns nil. If the outcome
// of messages could not be stored, it returns an error with their number; they
// stay pending and are published, perhaps again, later. No goroutine of the relay
// runs after Run has returned, unless the publisher ignores the end of its context.
//
// Run may be called again after it has returned; while it or Drain runs it
// returns ErrRunning.
func (r *Relay) Run(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	defer r.end()
	r.leases.draining = false
	return r.serve(ctx, r.sweepLoop, r.gaugeLoop, r.dueLoop, r.purgeLoop)
}

// begin makes the relay this call's of Run or Drain, until end.
func (r *Relay) begin(ctx context.Context) error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	if slices.ContainsFunc(r.lanes, (*lane).isRunning) {
		r.running.Store(false)
		return ErrRunning
	}
	r.monitor.restarted()
	r.suspended.clear()
	r.pauses.clear()
	r.unwatch = r.metrics.watch(ctx, r)
	return nil
}

func (r *Relay) end() {
	r.unwatch()
	r.monitor.stopped()
	r.running.Store(false)
}

// serve publishes until ctx ends, with helpers running beside, and returns when
// all of it has ended. The error says what was left without a stored verdict.
func (r *Relay) serve(ctx context.Context, helpers ...func(context.Context)) error {
	// What is in flight outlives ctx by ShutdownTimeout.
	work, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(errShutdown)
	keep, stopKeeping := context.WithCancel(work)
	var lanes, helping, keeping sync.WaitGroup
	keeping.Go(func() { r.leases.run(keep, ctx) })
	for _, help := range helpers {
		helping.Go(func() { help(ctx) })
	}
	for _, l := range r.lanes {
		l.setRunning(true)
		lanes.Go(func() { l.run(ctx, work) })
	}
	r.log.InfoContext(ctx, "relay starts", "lanes", r.cfg.Lanes, "batch_size", r.cfg.BatchSize)

	<-ctx.Done()
	r.log.InfoContext(ctx, "relay stops", "cause", context.Cause(ctx))
	limit := time.AfterFunc(r.cfg.ShutdownTimeout, func() { cut(errShutdown) })
	defer limit.Stop()
	joined := join(&lanes, work)
	stopKeeping()
	keeping.Wait()
	helping.Wait()
	r.leases.leave()
	return r.leftover(joined)
}

// cutOffWait is how long a lane may take to return once its context was cut.
const cutOffWait = 5 * time.Second

// join waits for the lanes; false: one did not return although its context has
// ended.
func join(lanes *sync.WaitGroup, work context.Context) bool {
	done := make(chan struct{})
	go func() {
		lanes.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-work.Done():
	}
	select {
	case <-done:
		return true
	case <-time.After(cutOffWait):
		return false
	}
}

// poolClosed is how many idle connections the pool may close before the relay
// warns that its limit is too low: with database/sql's default of two idle
// connections, lanes open a new connection for most of their statements.
const poolClosed = 200

// watchPool warns if the pool closes connections that lanes need again, and
// reports whether it did.
func (r *Relay) watchPool(ctx context.Context, before sql.DBStats) bool {
	closed := r.outbox.db.Stats().MaxIdleClosed - before.MaxIdleClosed
	if closed < poolClosed {
		return false
	}
	r.log.WarnContext(ctx, "the database pool keeps closing connections that the relay needs again; raise SetMaxIdleConns",
		"closed", closed, "wanted_idle", r.cfg.Lanes+4)
	return true
}

// leftover returns an error if the outcome of messages is unknown or not stored.
func (r *Relay) leftover(joined bool) error {
	left := 0
	for _, l := range r.lanes {
		left += int(l.inFlight.Swap(0))
	}
	switch {
	case !joined:
		return fmt.Errorf("outbox: relay: Publish has not returned %v after its context ended: %d messages have no verdict and are published again by whoever takes over: %w",
			cutOffWait, left, errShutdown)
	case left > 0:
		return fmt.Errorf("outbox: relay: %d messages have no stored verdict and are published again later: %w", left, errShutdown)
	}
	return nil
}

// Wake makes the relay look for messages now, for example after the commit of a
// transaction that enqueued some. It is optional, as the relay also polls. It does
// not block, and may be called at any time from any goroutine. For producers in other
// processes package outbox/postgres has a Notifier and a Listener.
func (r *Relay) Wake() {
	for _, l := range r.lanes {
		l.wake()
	}
}

// noteIdle tells Drain, if it runs, that a lane has nothing to do at once.
func (r *Relay) noteIdle() {
	select {
	case r.idle <- struct{}{}:
	default: // it is told already, or nobody asks
	}
}

// Health returns a snapshot of the relay's state and counters.
func (r *Relay) Health() Health {
	h := r.monitor.read()
	h.Suspended = r.suspended.list()
	for _, p := range r.pauses.details() {
		h.Paused = append(h.Paused, PausedTopic{Topic: p.Topic, Since: p.Since, Actor: p.Actor, Reason: p.Reason})
	}
	if len(h.Suspended)+len(h.Paused) == 0 {
		return h
	}
	waiting := make(map[string]int)
	for _, l := range r.lanes {
		l.countWaiting(waiting)
	}
	for i, s := range h.Suspended {
		h.Suspended[i].Waiting = waiting[s.Topic]
	}
	for i, p := range h.Paused {
		h.Paused[i].Waiting = waiting[p.Topic]
	}
	return h
}

const (
	// statementTimeout bounds the reads and writes of the relay.
	statementTimeout = 30 * time.Second
	// lockTimeout bounds their waits for what others have locked.
	lockTimeout = 10 * time.Second
	// leastIdleTimeout: what a slow machine may take between two statements.
	leastIdleTimeout = 2 * time.Second
)

// read runs do in a transaction that writes nothing, with a deadline.
func (r *Relay) read(ctx context.Context, do func(context.Context, *sqldb.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return r.gated(ctx, func() error { return r.store.Read(ctx, do) })
}

// write runs do in a transaction that sees what others have committed while it
// waited for them, with a deadline.
func (r *Relay) write(ctx context.Context, do func(context.Context, *sqldb.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, statementTimeout)
	defer cancel()
	return r.gated(ctx, func() error { return r.store.Write(ctx, do) })
}

// gated calls do, which uses a connection to the database, when the gate allows it.
func (r *Relay) gated(ctx context.Context, do func() error) error {
	leave, err := r.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	err = do()
	switch sqldb.Judge(err) {
	case sqldb.Lost, sqldb.Timeout: // it could as well be the broker that does not answer
		return fmt.Errorf("%w: %w", health.Part("database"), err)
	}
	return err
}

// query selects all rows of a named query, which writes nothing, into dest.
func (r *Relay) query(ctx context.Context, dest any, name string, args ...any) error {
	return r.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Select(ctx, dest, name, args...) })
}

// exec runs a named query for its effect.
func (r *Relay) exec(ctx context.Context, name string, args ...any) error {
	return r.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, name, args...)
		return err
	})
}

// every does work now and at each interval until ctx ends, and reports what a part
// cannot do. Work that has failed is tried again soon: health says what is so now.
func (r *Relay) every(ctx context.Context, part string, interval time.Duration, work func(context.Context) error) {
	pauses := backoff.Periodic{Interval: interval, Retry: retries}
	for ctx.Err() == nil {
		began := time.Now()
		err := work(ctx)
		if ctx.Err() != nil {
			return
		}
		r.monitor.trouble(ctx, part, sqldb.Explain(err))
		sleep(ctx, pauses.After(err, time.Since(began)))
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
