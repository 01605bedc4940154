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

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Relay moves messages from the outbox to a broker. Any number of relays may
// serve one outbox: they share its buckets. docs/relay.md draws its goroutines.
type Relay struct {
	outbox    *Outbox
	publisher Publisher
	cfg       RelayConfig
	log       *slog.Logger
	store     *sqldb.Database // the outbox's, with settings for statements that run often

	running atomic.Bool
	lanes   []*lane
	keeper  *keeper
	outage  outage
	monitor *monitor

	suspended suspensions

	generations generations

	gate *gate         // which other relays of this process share; nil: none do
	idle chan struct{} // tells Drain that a lane has nothing to do at once
}

// ErrRunning is returned by Run and Drain while one of them runs, or while a lane
// of an earlier run still waits for a publisher that ignores its context.
var ErrRunning = errors.New("relay is running already")

// errShutdown is the cause of contexts cut off when ShutdownTimeout has passed.
var errShutdown = errors.New("relay's ShutdownTimeout has passed")

// NewRelay returns a relay that publishes what is in o by p, which it does not
// close. It touches neither database nor broker. The error holds everything
// that is wrong with cfg.
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
	r := &Relay{outbox: o, publisher: p, cfg: cfg, log: cfg.Logger.With("relay", cfg.Owner), idle: make(chan struct{}, 1)}
	r.store = o.store.With(sqldb.Settings{
		Name: "pulse relay " + cfg.Owner, StatementTimeout: statementTimeout, LockTimeout: lockTimeout,
		IdleTimeout: max(cfg.LeaseTTL, leastIdleTimeout), ByIndex: true,
		Tables: []string{"outbox_messages", "outbox_leases", "outbox_relays"},
	})
	r.monitor = newMonitor(r.log)
	for i := range cfg.Lanes {
		r.lanes = append(r.lanes, newLane(r, fmt.Sprintf("lane %d", i)))
	}
	r.keeper = newKeeper(r)
	return r, nil
}

// Run publishes until ctx ends. It starts with database and broker down, logs
// and rides over their outages, and never returns because of them. When ctx
// ends it takes no more messages, waits up to ShutdownTimeout for what is
// being published, gives its leases back and returns nil; where something
// was left without a stored verdict, an error says how much: it stays pending
// and is published (again) later. No goroutine of the relay runs afterwards,
// unless the publisher ignores the end of its context.
//
// Run may be called again after it has returned; while it or Drain runs it
// returns ErrRunning.
func (r *Relay) Run(ctx context.Context) error {
	if err := r.begin(); err != nil {
		return err
	}
	defer r.end()
	r.keeper.draining = false
	return r.serve(ctx, r.sweepLoop, r.gaugeLoop, r.dueLoop, r.purgeLoop)
}

// begin makes the relay this call's of Run or Drain, until end.
func (r *Relay) begin() error {
	if !r.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	if slices.ContainsFunc(r.lanes, (*lane).isRunning) {
		r.running.Store(false)
		return ErrRunning
	}
	r.monitor.restarted()
	r.suspended.clear()
	return nil
}

func (r *Relay) end() {
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
	keeping.Go(func() { r.keeper.run(keep, ctx) })
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
	r.keeper.leave()
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
// says that its limits are too low: with database/sql's default of two idle
// connections, lanes connect anew for most of their statements.
const poolClosed = 200

// watchPool warns when the pool throws away connections that lanes will want
// again, and returns whether it has.
func (r *Relay) watchPool(ctx context.Context, before sql.DBStats) bool {
	closed := r.outbox.db.Stats().MaxIdleClosed - before.MaxIdleClosed
	if closed < poolClosed {
		return false
	}
	r.log.WarnContext(ctx, "the database pool keeps closing connections that the relay needs again; raise SetMaxIdleConns",
		"closed", closed, "wanted_idle", r.cfg.Lanes+4)
	return true
}

// leftover returns an error about what the lanes could not settle.
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

// Wake hints that there is something to publish, as after the commit of a
// transaction that enqueued. It never blocks, may be called from anywhere at
// any time, and is only a hint: polling finds everything by itself.
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

// Health returns how the relay is doing.
func (r *Relay) Health() Health {
	h := r.monitor.read()
	if h.Suspended = r.suspended.list(); len(h.Suspended) > 0 {
		waiting := make(map[string]int)
		for _, l := range r.lanes {
			l.countWaiting(waiting)
		}
		for i, s := range h.Suspended {
			h.Suspended[i].Waiting = waiting[s.Topic]
		}
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

// gated does what uses a connection to the database, when it may.
func (r *Relay) gated(ctx context.Context, do func() error) error {
	leave, err := r.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return do()
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

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
