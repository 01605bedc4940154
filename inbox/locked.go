package inbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// ErrLocked is matched by every LockedError.
var ErrLocked = errors.New("event is locked by another transaction")

// LockedError says that another transaction has claimed an event and has not
// ended: a copy is being applied, or its transaction hangs.
type LockedError struct {
	EventID string  // empty: one of those that were claimed together
	Holder  *Holder // nil: it could not be seen
	Err     error   // the database's
}

// Holder is the session that holds a claim, as far as PostgreSQL shows it to this
// user.
type Holder struct {
	PID         int     `db:"pid"`         // 0: none, but a prepared transaction
	Application string  `db:"application"` // application_name; empty: hidden or not set
	Client      string  `db:"client"`      // its address; empty: hidden or local
	State       string  `db:"state"`       // such as "idle in transaction"
	Seconds     float64 `db:"seconds"`     // since when
}

func (e *LockedError) Error() string {
	event := "event " + e.EventID
	if e.EventID == "" {
		event = "one of several events"
	}
	h := e.Holder
	switch {
	case h == nil:
		return event + " is being applied by another transaction"
	case h.PID == 0:
		return event + " is being applied by a prepared transaction (see pg_prepared_xacts)"
	}
	return fmt.Sprintf("%s is being applied by another transaction: session %d (application %q, client %q), %s for %v",
		event, h.PID, h.Application, h.Client, h.State, time.Duration(h.Seconds*float64(time.Second)).Round(time.Second/10))
}
func (e *LockedError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, ErrLocked) hold.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Waits for a claim that another transaction holds.
const (
	// firstLockWait is enough for a copy that is being applied as usual.
	firstLockWait = time.Second
	// nextLockWait applies when claims were found locked a moment ago: who holds
	// one often holds others, and free ones should not wait for each.
	nextLockWait = 50 * time.Millisecond
	// lockMemory is how long that moment lasts.
	lockMemory = 10 * time.Second
	// lockedDelay is the delay of the retry of a locked message.
	lockedDelay = 5 * time.Second
)

// longLockWait is for callers that wait for the result: nearly as long as any
// statement may take.
func (in *Inbox) longLockWait() time.Duration { return in.statementTimeout * 9 / 10 }

// lockWait is how long a claim waits for another transaction; short after
// others were found locked.
func (in *Inbox) lockWait(short bool) time.Duration {
	if short {
		return min(nextLockWait, in.statementTimeout/2)
	}
	return min(firstLockWait, in.statementTimeout/2)
}

// locked marks an error of claiming as a LockedError where it is one. The
// server's statement_timeout says the same; the end of ctx does not.
func locked(ctx context.Context, err error) error {
	if state := sqldb.SQLState(err); ctx.Err() == nil && (state == "55P03" || state == "57014") {
		return &LockedError{Err: err}
	}
	return err
}

// explain says which event an error is about and, where that is locked and it
// can be seen, who holds it.
func (in *Inbox) explain(ctx context.Context, doing string, msg Message, err error) error {
	err = locked(ctx, err)
	if e, ok := errors.AsType[*LockedError](err); ok && in.dialect == sqldb.PostgreSQL && e.Holder == nil {
		e.Holder = in.holder(ctx, msg)
	}
	return in.nameEvent(doing, msg, err)
}

// nameEvent says which event an error is about.
func (in *Inbox) nameEvent(doing string, msg Message, err error) error {
	e, ok := errors.AsType[*LockedError](err)
	switch {
	case ok && e.EventID == "":
		e.EventID = msg.ID
		return fmt.Errorf("inbox: %w", e)
	case ok || is[*ConflictError](err):
		return err
	case is[*InvalidMessageError](err): // which has the id, however odd
		return fmt.Errorf("inbox: %s%w", doing, err)
	}
	return fmt.Errorf("inbox: %sevent %s: %w", doing, msg.ID, err)
}

// holderWait bounds the search for a holder, who usually is found at once.
const holderWait = time.Second

// holder finds out who holds the claim of msg: it claims msg again, asks on
// another connection which session that waits for, and rolls back. nil: none any
// more, or it cannot be seen.
func (in *Inbox) holder(ctx context.Context, msg Message) *Holder {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	conn, tx, err := sqldb.Begin(ctx, in.db, nil)
	if err != nil {
		return nil
	}
	var waiting sync.WaitGroup
	defer func() {
		waiting.Wait()
		_ = tx.Rollback()
		sqldb.Release(in.db, conn, nil)
	}()
	var pid int
	if err := tx.GetContext(ctx, &pid, sessionQueries.Get("backend")); err != nil {
		return nil
	}
	claimed := make(chan struct{})
	waiting.Go(func() {
		defer close(claimed)
		_, _ = in.claim(ctx, tx, []Message{msg}, bounds{lock: holderWait}) // only to wait
	})
	tick := time.NewTicker(holderWait / 50)
	defer tick.Stop()
	for {
		select {
		case <-claimed:
			return nil
		case <-tick.C:
		}
		var h Holder
		if err := sqlx.GetContext(ctx, in.db, &h, sessionQueries.Get("holder"), pid); err == nil {
			_, _ = in.db.ExecContext(ctx, "SELECT pg_catalog.pg_cancel_backend($1)", pid) // it need not wait any longer
			return &h
		}
	}
}

// locks remembers which events a consumer has found locked.
type locks struct {
	mu     sync.Mutex
	last   time.Time
	events map[string]*lockedEvent
}

type lockedEvent struct {
	err          error
	seen, logged time.Time
}

// Limits of what is remembered and logged of locked events.
const (
	maxLocks      = 10_000
	lockLogPause  = time.Minute
	lockForgotten = 3 * time.Minute // another consumer has it by then, or none
)

// found notes that claims are locked.
func (l *locks) found() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
}

// recent reports whether claims were found locked a moment ago.
func (l *locks) recent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.last) < lockMemory
}

// due reports whether a locked event should be examined and logged: the first
// time, and then every lockLogPause.
func (l *locks) due(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.events[id]
	return e == nil || time.Since(e.logged) >= lockLogPause
}

// note remembers a locked event. logged means that it was logged.
func (l *locks) note(id string, err error, logged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	e := l.events[id]
	if e == nil {
		if len(l.events) >= maxLocks {
			return
		}
		if l.events == nil {
			l.events = make(map[string]*lockedEvent)
		}
		e = &lockedEvent{}
		l.events[id] = e
	}
	e.seen = now
	if logged || e.err == nil {
		e.err, e.logged = err, now
	}
}

// free forgets events that were found free, and those not seen for long.
func (l *locks) free(ids ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		delete(l.events, id)
	}
	for id, e := range l.events {
		if time.Since(e.seen) > lockForgotten {
			delete(l.events, id)
		}
	}
}

// err says what is locked; nil: nothing.
func (l *locks) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if n := len(l.events); n > 1 {
			return fmt.Errorf("%w, and %d more events are locked", e.err, n-1)
		}
		return e.err
	}
	return nil
}
