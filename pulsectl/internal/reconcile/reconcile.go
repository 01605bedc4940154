// Package reconcile compares both sides event by event: what was committed and
// published according to orders and outbox, and what was applied according to
// inbox and effects. Messages in between, in queues, held by consumers and
// among the dead letters, are counted. An event is reported as lost only when
// nothing can hold its message any more.
package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox"
)

// Broker reads the queues of one consumer.
type Broker interface {
	// Look counts, without changing anything.
	Look(ctx context.Context) (Queues, error)
	// CountsHolders reports whether Queues.Holders includes every holder of
	// messages: a classic queue does not count a tool that got some.
	CountsHolders(ctx context.Context) (bool, error)
	// DeadLetters calls each with every message that was in the dead-letter
	// queue when it began, and returns the error of each. An ErrNotRead says
	// why it did not read them.
	DeadLetters(ctx context.Context, each func(DeadLetter) error) error
}

// Comparison configures a comparison: one outbox with one consumer.
type Comparison struct {
	OutboxDB *sqlx.DB
	InboxDB  *sqlx.DB
	Broker   Broker
	Queue    string   // consumed by the consumer
	Consumer string   // in processed_events
	Topics   []string // that the consumer receives; at least one
	// Orders and Effects are the service's own tables, with what the events are
	// about and with what they cause. Nil: not compared.
	Orders, Effects *Column
	// EffectsPerEvent is how many rows of Effects each applied event has; 0: one
	// or more.
	EffectsPerEvent int
	// Acknowledged are ids that a client got as answers: of events or, if the
	// orders have a column id, of orders. Nil: no list.
	Acknowledged iter.Seq2[string, error]
	// OutboxRetention and InboxRetention say how long published outbox rows and
	// inbox rows are kept. Older ones are not expected.
	OutboxRetention, InboxRetention time.Duration
	// OtherProducers says that the topics have producers with other outboxes:
	// then nothing is foreign.
	OtherProducers bool
	// IgnoreBodies says that the consumer changes bodies before it applies
	// them: they are not compared.
	IgnoreBodies bool
	// AssumeNotHeld says that there are no holders of unacknowledged messages
	// except consumers that report.
	AssumeNotHeld bool
	// Pause is the time between the first two looks at databases and queues for
	// messages that are on their way; the time between later ones is up to a
	// second by default, five times Pause. Defaults to 200 ms.
	Pause time.Duration
	// Progress, if not nil, is updated during the comparison.
	Progress *Progress
}

// verification is one run of a Comparison.
type verification struct {
	Comparison
	inbox  *inbox.Inbox
	outbox *outbox.Outbox
	report *Report

	cut            int64     // seq
	kept           time.Time // published since: must be in the outbox
	remembered     time.Time // published since: must be in the inbox
	keepsPublished bool      // the outbox has rows that are published

	looked    *atomic.Int64 // events
	hidden    *bool         // whether there may be holders that the broker does not count; nil: not checked yet
	unmatched []event
	suspects  []suspect // possibly applied with another body
	missing   *spool    // candidates

	otherConsumers map[string]int // dead letters of others, by consumer
	otherBodies    int            // events whose dead letters have another body
}

// Verify compares, and waits up to patience for messages that are on their way.
// Orders and Effects must come from Comparison.Resolve. When ctx ends it returns
// what it has found so far with ctx's error. A NameError says that a name does
// not exist, ErrNothing that there was nothing to compare. The caller closes
// the report.
func (l Comparison) Verify(ctx context.Context, patience time.Duration) (r *Report, err error) {
	v, err := l.begin()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.missing.close()) }()
	deadline := time.Now().Add(patience)
	for _, step := range []func(context.Context) error{
		v.readBounds, v.checkNames,
		func(ctx context.Context) error { return v.drain(ctx, deadline) },
		v.compareAll,
		func(ctx context.Context) error { return v.settle(ctx, deadline) },
	} {
		if err := step(ctx); err != nil {
			v.report.Missing = v.missing.n
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return v.report, err
		}
	}
	v.remark()
	return v.report, v.nothing()
}

func (l Comparison) begin() (*verification, error) {
	if l.Progress == nil {
		l.Progress = new(Progress)
	}
	l.Pause = cmp.Or(l.Pause, defaultPause)
	v := &verification{Comparison: l, report: new(Report), missing: new(spool), looked: &l.Progress.looked}
	var err error
	if v.outbox, err = outbox.New(l.OutboxDB); err != nil {
		return nil, err
	}
	if v.inbox, err = inbox.New(l.InboxDB, l.Consumer); err != nil {
		return nil, err
	}
	return v, nil
}

// readBounds reads the cut and the times since which rows are expected. A purge
// may run meanwhile: hence a margin of a hundredth.
func (v *verification) readBounds(ctx context.Context) error {
	if err := v.OutboxDB.GetContext(ctx, &v.cut, `SELECT coalesce(max(seq), 0) FROM outbox_messages`); err != nil {
		return fmt.Errorf("read the outbox: %w", sqldb.Schema(err))
	}
	at, err := now(ctx, v.OutboxDB)
	if err != nil {
		return fmt.Errorf("read the outbox: %w", err)
	}
	v.report.CutAt = at
	v.kept = at.Add(-v.OutboxRetention + v.OutboxRetention/100)
	v.remembered = at.Add(-v.InboxRetention + v.InboxRetention/100)
	return nil
}

func (v *verification) compareAll(ctx context.Context) error {
	v.Progress.comparing.Store(true)
	defer v.Progress.comparing.Store(false)
	return v.compare(ctx)
}

// compares reports whether a topic is compared.
func (v *verification) compares(topic string) bool { return slices.Contains(v.Topics, topic) }

// relays counts the live relays.
func (v *verification) relays(ctx context.Context) (alive int, err error) {
	all, err := v.outbox.Relays(ctx)
	for _, r := range all {
		if r.Live {
			alive++
		}
	}
	return alive, err
}

// ErrNothing is matched by errors that say that there was nothing to compare.
var ErrNothing = errors.New("nothing was compared")

// nothing returns an error if nothing was compared.
func (v *verification) nothing() error {
	r := v.report
	switch {
	case r.Compared > 0 || !r.OK():
		return nil
	case r.Newer > 0:
		return fmt.Errorf("%w: all %s rows were enqueued after verify began; run it again", ErrNothing, Thousands(r.Newer))
	case r.Old > 0:
		return fmt.Errorf("%w: %s events of %s are known, all older than the retention: outbox or inbox may have purged their rows", ErrNothing, Thousands(r.Old), quoted(v.Topics))
	case v.Orders != nil:
		return fmt.Errorf("%w: the outbox has no row of topic %s, nor has %s", ErrNothing, quoted(v.Topics), v.Orders.tableName())
	}
	return fmt.Errorf("%w: the outbox has no row of topic %s", ErrNothing, quoted(v.Topics))
}

// remark notes the limits of the comparison.
func (v *verification) remark() {
	r := v.report
	note := func(format string, args ...any) { r.Notes = append(r.Notes, fmt.Sprintf(format, args...)) }
	if r.Newer > 0 {
		note("%s events were enqueued after verify began and not compared", Thousands(r.Newer))
	}
	if r.Old > 0 {
		note("%s events are older than the retention: their rows may have been purged", Thousands(r.Old))
	}
	if r.Delayed > 0 {
		note("%s pending events are not due yet", Thousands(r.Delayed))
	}
	for _, consumer := range slices.Sorted(maps.Keys(v.otherConsumers)) {
		note("%s dead letters of consumer %q do not count here", Thousands(v.otherConsumers[consumer]), consumer)
	}
	if v.otherBodies > 0 {
		note("%s events have dead letters with another body, which do not count", Thousands(v.otherBodies))
	}
	if !v.keepsPublished && v.Orders == nil && !v.OtherProducers {
		note("the outbox keeps no published rows, so foreign events cannot be found")
	}
}

// now returns the database's time.
func now(ctx context.Context, db *sqlx.DB) (time.Time, error) {
	query := "SELECT clock_timestamp()"
	if dialect(db) == sqldb.SQLite {
		query = "SELECT " + sqliteNow
	}
	var at sqldb.Instant
	err := db.GetContext(ctx, &at, query)
	return at.Time, err
}

const sqliteNow = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"

// dialect returns the dialect of a database that outbox or inbox has already
// accepted.
func dialect(db *sqlx.DB) sqldb.Dialect {
	d, err := sqldb.Detect(db.DriverName())
	if err != nil {
		return sqldb.PostgreSQL
	}
	return cmp.Or(d, sqldb.PostgreSQL)
}
