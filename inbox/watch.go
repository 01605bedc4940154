package inbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/asimalizada/pulse-events/internal/backoff"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// What a consumer does beside its messages, to notice that it can do nothing
// before one comes, and to forget.

const (
	// probeInterval is the time between two looks.
	probeInterval = 5 * time.Second
	// idleProbeTimeout bounds a look while no message is on its way: a slow database
	// is no trouble then. A message that comes meanwhile is not looked after before
	// the look has ended.
	idleProbeTimeout = 10 * time.Second
)

// every calls f now and at each interval, and again soon after it has failed, until
// ctx ends or all is handled.
func (c *Consumer) every(ctx context.Context, interval time.Duration, handled <-chan struct{}, f func(context.Context) error) {
	pauses := backoff.Periodic{Interval: interval, Retry: waits}
	for {
		began := time.Now()
		err := f(ctx)
		next := time.NewTimer(pauses.After(err, time.Since(began)))
		select {
		case <-next.C:
		case <-ctx.Done():
			next.Stop()
			return
		case <-handled:
			next.Stop()
			return
		}
	}
}

// look sees whether the database would take a message, unless a transaction has
// told that since the last look, and forgets locks that nobody has met any more.
// Transactions of which none ends may wait for handlers, or for a network that has
// failed, of which the driver hears late.
func (c *Consumer) look(ctx context.Context) {
	c.locks.free()
	c.tell(partLocks, c.locks.err)
	ended, before := c.ended.Load(), c.seen
	c.seen = ended
	idle, limit := c.active.Load() == 0, probeTimeout
	if c.in == nil || !idle && ended != before {
		return
	}
	if idle {
		limit = max(limit, min(c.in.statementTimeout/2, idleProbeTimeout))
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := c.in.CheckReady(bounded)
	switch {
	case ctx.Err() != nil, c.ended.Load() != ended, idle && c.active.Load() > 0:
		return
	case sqldb.Judge(err) == sqldb.Transient, errors.Is(err, sqldb.ErrBusy):
		return
	case !idle && errors.Is(err, sqldb.ErrPoolInUse): // by the handlers
		return
	}
	c.trouble(partDatabase, err)
}

// tell is trouble with what err says at this moment: of two that report at
// once, the later is not to be overtaken by the earlier.
func (c *Consumer) tell(part string, err func() error) {
	c.telling.Lock()
	defer c.telling.Unlock()
	c.trouble(part, err())
}

// trouble reports what a part of the consumer cannot do, nil: that it can. The
// first and the last are logged.
func (c *Consumer) trouble(part string, err error) {
	if !c.monitor.trouble(part, err) {
		return
	}
	if err != nil {
		c.cfg.Logger.Warn("inbox: the consumer is degraded", "consumer", c.name(), "part", part, "error", err)
	} else {
		c.cfg.Logger.Info("inbox: the consumer has recovered", "consumer", c.name(), "part", part)
	}
}

// markFree forgets the locks of deliveries that have been taken through the
// database, which therefore works.
func (c *Consumer) markFree(ds []Delivery) {
	if c.monitor.well() {
		return
	}
	ids := make([]string, len(ds))
	for i, d := range ds {
		ids[i] = d.Message.ID
	}
	c.locks.free(ids...)
	c.tell(partLocks, c.locks.err)
	c.trouble(partDatabase, nil)
}

// delay asks a backoff, which is the user's: ConsumerConfig.Backoff or a route's.
func (c *Consumer) delay(ctx context.Context, d Delivery, backoff func(failures int) time.Duration, failures int) (delay time.Duration) {
	err := detached(func() error {
		delay = backoff(failures)
		return nil
	})
	if err != nil {
		c.log(ctx, slog.LevelError, "inbox: Backoff has failed; the default is used", d, err)
		return defaultBackoff(failures)
	}
	return delay
}

// purge forgets what is older than the retention, and returns what it has reported.
func (c *Consumer) purge(ctx context.Context) error {
	c.metrics.overdue.Begin()
	n, err := c.in.purge(ctx, c.cfg.Retention, func(took time.Duration) {
		select { // messages wait for a purge no more than a third of the time
		case <-time.After(2 * took):
		case <-ctx.Done():
		}
	})
	overdue, lookErr := c.in.overdue(ctx, c.cfg.Retention)
	if lookErr == nil {
		c.metrics.overdue.Found(overdue)
	}
	switch {
	case err != nil:
	case lookErr != nil:
		err = lookErr
	case n == 0 && overdue > max(c.cfg.PurgeInterval, time.Minute):
		err = fmt.Errorf("deletes nothing, and the oldest event is %v old: rows are locked for long, or kept by a trigger or a policy",
			(c.cfg.Retention + overdue).Round(time.Second))
	}
	if ctx.Err() == nil {
		c.trouble(partPurge, err)
	}
	return err
}
