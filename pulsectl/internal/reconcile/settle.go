package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Between two looks at databases and queues: defaultPause is the default of
// Comparison.Pause, which grows by up to longestPause times while nothing changes.
const (
	defaultPause = 200 * time.Millisecond
	longestPause = 5
)

// evidencePatience is how long missing events are looked for if the deadline
// has already passed, for example while waiting for rows that no relay
// publishes.
const evidencePatience = 10 * time.Second

// drain waits until no row up to the cut is due to be published, or until the
// deadline.
func (v *verification) drain(ctx context.Context, deadline time.Time) error {
	for pause := v.Pause; ; pause = min(2*pause, longestPause*v.Pause) {
		p, err := v.pending(ctx)
		if err != nil {
			return fmt.Errorf("read the outbox: %w", err)
		}
		if v.report.Delayed = p.Delayed; p.Due == 0 {
			v.report.Waiting = nil
			return nil
		}
		v.report.Waiting = []string{v.describe(ctx, p)}
		v.Progress.say("%s", v.report.Waiting[0])
		if time.Now().After(deadline) {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// pendingRows counts the pending rows up to the cut, up to a limit.
type pendingRows struct {
	Due, Failed, Delayed int
}

// pendingBound is the highest count of pending rows.
const pendingBound = 100_000

func (v *verification) pending(ctx context.Context) (p pendingRows, err error) {
	d := dialect(v.OutboxDB)
	now := "clock_timestamp()"
	if d == sqldb.SQLite {
		now = sqliteNow
	}
	err = v.OutboxDB.GetContext(ctx, &p, `SELECT
		coalesce(sum(CASE WHEN attempts = 0 AND available_at > created_at AND available_at > `+now+` THEN 0 ELSE 1 END), 0) AS due,
		coalesce(sum(CASE WHEN attempts > 0 THEN 1 ELSE 0 END), 0) AS failed,
		coalesce(sum(CASE WHEN attempts = 0 AND available_at > created_at AND available_at > `+now+` THEN 1 ELSE 0 END), 0) AS delayed
		FROM (SELECT attempts, available_at, created_at FROM outbox_messages
			WHERE status = 'pending' AND seq <= $1 AND topic IN (`+elements(d, 2)+`) LIMIT $3) AS pending`,
		v.cut, list(v.Topics), pendingBound)
	return p, sqldb.Schema(err)
}

// describe says how many rows are pending, and why they are not published.
func (v *verification) describe(ctx context.Context, p pendingRows) string {
	text := fmt.Sprintf("%s pending", Thousands(p.Due))
	if p.Failed > 0 {
		text += fmt.Sprintf(" (%s of them refused by the broker and retried)", Thousands(p.Failed))
	}
	if alive, err := v.relays(ctx); err == nil && alive == 0 {
		text += ", and no relay is ready to publish them"
	}
	return text
}

// settle follows the missing events until each is applied, known as a dead
// letter, or lost because no one holds it, but at most until the deadline: the
// rest is Missing.
func (v *verification) settle(ctx context.Context, deadline time.Time) error {
	if soonest := time.Now().Add(evidencePatience); v.missing.n > 0 && deadline.Before(soonest) && len(v.report.Waiting) > 0 {
		deadline = soonest
	}
	pending := v.report.Waiting
	var seen evidence
	var unread []string // why the dead letters could not be read
	for pause := v.Pause; ; pause = min(2*pause, longestPause*v.Pause) {
		waiting, err := v.look(ctx, &seen)
		if err != nil {
			return err
		}
		if v.report.Missing = v.missing.n; v.report.Missing == 0 {
			v.report.Waiting = pending
			return nil
		}
		if len(waiting) == 0 && v.report.DeadLettered > 0 {
			if unread, err = v.lookAtDeadLetters(ctx); err != nil {
				return err
			}
			seen = evidence{}
			if v.missing.n == 0 {
				continue
			}
			waiting = unread
		}
		if len(waiting) == 0 {
			v.report.Waiting, v.report.Missing = pending, 0
			return v.declareLost()
		}
		v.report.Waiting = append(pending[:len(pending):len(pending)], fmt.Sprintf("%s missing: %s", Thousands(v.missing.n), strings.Join(why(unread, waiting), "; ")))
		v.Progress.say("%s", strings.Join(v.report.Waiting, "; "))
		if time.Now().After(deadline) {
			return nil
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// why returns what to wait for, after an obstacle met before.
func why(obstacle, waiting []string) []string {
	if len(obstacle) == 0 || len(waiting) > 0 && waiting[0] == obstacle[0] {
		return waiting
	}
	return append(obstacle[:len(obstacle):len(obstacle)], waiting...)
}

// lookAtDeadLetters removes from the missing events those in the dead-letter
// queue, and says why it could not read all of them.
func (v *verification) lookAtDeadLetters(ctx context.Context) (waiting []string, err error) {
	there := v.report.DeadLettered
	read, err := v.excuse(ctx)
	switch {
	case errors.Is(err, ErrNotRead):
		return []string{fmt.Sprintf("%s dead letters may be the missing ones: %v", Thousands(there), err)}, nil
	case err != nil:
		return nil, err
	case read < there:
		return []string{fmt.Sprintf("%s of %s dead letters were removed before they could be read", Thousands(there-read), Thousands(there))}, nil
	}
	return nil, v.recheck(ctx)
}

// look queries broker and consumers, and then the inbox again: a message that
// was held may have been applied meanwhile.
func (v *verification) look(ctx context.Context, seen *evidence) (waiting []string, err error) {
	q, err := v.Broker.Look(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the queues: %w", err)
	}
	v.report.InFlight, v.report.DeadLettered = q.Ready+q.Retrying, q.DeadLettered
	if v.missing.n == 0 {
		return nil, nil
	}
	now, err := now(ctx, v.InboxDB)
	if err != nil {
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	instances, err := v.inbox.Instances(ctx)
	if err != nil && !errors.Is(err, inbox.ErrSchema) { // a version that does not report them
		return nil, fmt.Errorf("read the inbox: %w", err)
	}
	if q.Unacked < 0 && v.hidden == nil {
		counts, err := v.Broker.CountsHolders(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the queues: %w", err)
		}
		hidden := !counts
		v.hidden = &hidden
	}
	waiting = seen.observe(q, v.hidden != nil && *v.hidden, now, instances, v.Comparison, time.Now())
	v.report.Held = 0
	for _, i := range instances {
		if i.Live {
			v.report.Held += i.Held
		}
	}
	return waiting, v.recheck(ctx)
}

// sleep waits for d, or returns the cause when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
