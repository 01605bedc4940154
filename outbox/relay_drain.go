package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Drained is the result of Relay.Drain. The first three count what this relay
// did meanwhile, also for messages that were enqueued meanwhile.
type Drained struct {
	Published int64 // messages confirmed by the broker and marked so
	Failed    int64 // attempts refused by the broker; the messages are retried later
	Dead      int64 // messages given up
	// Left counts messages that were pending and due when Drain was called, and
	// still are. It is zero when Drain returns nil.
	Left Count
	// Later counts pending messages that were there when Drain was called and are
	// not due: delayed, to be retried, or behind a failed message of their key.
	Later Count
}

// Drain publishes the messages that are pending now and returns. It is for jobs,
// cloud functions, tests and shutdown hooks. It covers every message that is
// committed and due when it is called, by the database's clock, and returns nil
// when each of them was published, refused by the broker or marked dead. It does
// not wait for messages that are not due or are enqueued later. A refused message
// is not retried before its backoff; see Drained.Failed.
//
// Drain takes the buckets that no other relay holds and releases them at the end.
// For the others it waits until the relays that hold them have published the
// messages, or release the buckets; those of a relay that was killed become free
// after its LeaseTTL.
//
// Drain returns an error, together with the counts, if ctx ends, which stops it as
// it stops Run; if the database does not answer at the beginning; and if for a third
// of LeaseTTL the health is degraded and the broker has not answered, for example
// because the broker or the database is down, or a topic is suspended. The error
// then wraps Health.LastError, such as ErrUnavailable, and the messages stay pending.
// If something is paused, it returns ErrPaused when for that time nothing else was
// published and messages are left.
//
// Drain and Run can be called one after the other, but not concurrently: Drain then
// returns ErrRunning. Drain does not delete old messages; see Outbox.Purge.
func (r *Relay) Drain(ctx context.Context) (Drained, error) {
	if err := r.begin(ctx); err != nil {
		return Drained{}, err
	}
	defer r.end()
	before := r.monitor.read()
	goal, err := r.drainGoal(ctx)
	if err != nil {
		return Drained{}, fmt.Errorf("outbox: drain: %w", err)
	}
	left, err := r.drainLeft(ctx, goal, 1)
	if err != nil {
		return Drained{}, fmt.Errorf("outbox: drain: %w", err)
	}
	var reason, unstored error
	if left.Due > 0 {
		r.leases.draining = true
		inner, stop := context.WithCancel(ctx)
		unstored = r.serve(inner, r.sweepLoop, r.dueLoop, func(ctx context.Context) {
			defer stop()
			reason = r.watchDrain(ctx, goal)
		})
		stop()
	}
	d, err := r.drained(ctx, before, goal)
	if err = errors.Join(reason, unstored, err); err != nil {
		return d, fmt.Errorf("outbox: drain: %s: %w", d.counts(), err)
	}
	return d, nil
}

// counts is a summary of an incomplete Drain, for its error.
func (d Drained) counts() string {
	left := fmt.Sprint(d.Left.N)
	if !d.Left.Exact {
		left += " or more"
	}
	return fmt.Sprintf("%d messages published, %d refused, %d dead, %s left", d.Published, d.Failed, d.Dead, left)
}

// drainGoal is what was pending when a Drain began: rows up to a seq that were
// due at an instant of the database's clock. It does not grow.
type drainGoal struct {
	Top int64  `db:"top"`
	At  string `db:"at"` // as the database writes it
}

// drainLeft is how much of a goal is left.
type drainLeft struct {
	Due     int64 `db:"due"`
	Pending int64 `db:"pending"` // with what is not due
}

func (r *Relay) drainGoal(ctx context.Context) (goal drainGoal, err error) {
	err = r.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &goal, "drain_goal") })
	return goal, sqldb.Explain(err)
}

// drainLeft counts no further than limit.
func (r *Relay) drainLeft(ctx context.Context, goal drainGoal, limit int64) (left drainLeft, err error) {
	err = r.read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Get(ctx, &left, "drain_left", goal.Top, goal.At, limit)
	})
	return left, sqldb.Explain(err)
}

const (
	partDrain = "drain"
	// drainShare is the part of the time that looking for what is left may take: 1 in 5.
	drainShare = 5
)

// watchDrain returns nil when nothing of goal is left, or why that is not waited
// for any longer. It looks when a lane has nothing to do, every MaxPollInterval,
// and at most 20% of the time.
func (r *Relay) watchDrain(ctx context.Context, goal drainGoal) error {
	done, moved := r.monitor.read().verdicts(), time.Now()
	timer := time.NewTimer(r.cfg.MaxPollInterval)
	defer timer.Stop()
	for {
		select {
		case <-r.idle:
		case <-timer.C:
		case <-ctx.Done():
			return r.unfinished(context.Cause(ctx))
		}
		began := time.Now()
		left, err := r.drainLeft(ctx, goal, 1)
		switch {
		case ctx.Err() != nil:
			continue
		case err == nil && left.Due == 0:
			return nil
		}
		r.monitor.trouble(ctx, partDrain, err)
		h := r.monitor.read()
		if n := h.verdicts(); n != done || r.outage.answeredSince(moved) {
			done, moved = n, time.Now()
		}
		if err := r.pauses.problem(); err != nil && time.Since(moved) >= r.leases.patience() {
			return err
		}
		if h.LastError != nil && time.Since(moved) >= r.leases.patience() && time.Since(h.Since) >= r.leases.patience() {
			return h.LastError
		}
		rest := (drainShare - 1) * time.Since(began)
		if err != nil { // it has waited for the database, and is tried again soon
			rest = min(rest, r.cfg.MaxPollInterval)
		}
		sleep(ctx, rest)
		timer.Reset(r.cfg.MaxPollInterval)
	}
}

// verdicts counts the verdicts that were stored.
func (h Health) verdicts() int64 { return h.Published + h.Failed + h.Dead }

// unfinished adds to the cause for which a Drain ends early what has kept it from
// ending before.
func (r *Relay) unfinished(cause error) error {
	h := r.monitor.read()
	if h.LastError != nil {
		cause = fmt.Errorf("%w; %w", cause, h.LastError)
	}
	if h.Leases < buckets {
		cause = fmt.Errorf("%w; this relay holds %d of %d buckets", cause, h.Leases, buckets)
	}
	return cause
}

// drained sums up a Drain, also after ctx has ended.
func (r *Relay) drained(ctx context.Context, before Health, goal drainGoal) (Drained, error) {
	h := r.monitor.read()
	d := Drained{Published: h.Published - before.Published, Failed: h.Failed - before.Failed, Dead: h.Dead - before.Dead}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
	defer cancel()
	left, err := r.drainLeft(ctx, goal, exactUpTo+1)
	if err != nil {
		return d, fmt.Errorf("count what is left: %w", err)
	}
	later := left.Pending - left.Due
	d.Left = Count{N: min(left.Due, exactUpTo), Exact: left.Due <= exactUpTo}
	d.Later = Count{N: later, Exact: left.Pending <= exactUpTo}
	return d, nil
}
