// Package reconcile proves that nothing was lost and nothing was doubled: it
// compares what the outbox published with what the inbox applied, what is
// still queued and what was set aside, event by event.
package reconcile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox"
)

// Broker tells what lies in the queues.
type Broker interface {
	// InFlight counts messages that a consumer is still to see: in the queue,
	// delivered and unacked where that can be known, and on the retry ladder.
	InFlight(ctx context.Context) (int, error)
	// SetAside returns the event ids in the dead-letter queue and the number
	// of messages in it, with and without an id.
	SetAside(ctx context.Context) (ids map[string]bool, total int, err error)
}

// Report is the reconciliation. Its counts are of events, unless said.
type Report struct {
	Orders       int // orders committed
	Outbox       int // rows, of any status
	Published    int
	Pending      int // retrying included
	Dead         int
	InFlight     int // messages queued or waiting for a retry
	Applied      int
	DeadLettered int // messages in the dead-letter queue
	Lost         int // published, and neither applied, nor queued, nor set aside; or committed without an outbox row
	Duplicated   int // surplus effects
}

// OK reports whether nothing was lost and nothing doubled.
func (r Report) OK() bool { return r.Lost == 0 && r.Duplicated == 0 }

// Settled reports whether nothing moves any more.
func (r Report) Settled() bool { return r.Pending == 0 && r.InFlight == 0 }

// Verdict is "ok" or names what is wrong.
func (r Report) Verdict() string {
	switch {
	case r.Lost > 0 && r.Duplicated > 0:
		return "lost and duplicated"
	case r.Lost > 0:
		return "lost"
	case r.Duplicated > 0:
		return "duplicated"
	}
	return "ok"
}

// Ledger reads the parties to a reconciliation.
type Ledger struct {
	OutboxDB *sqlx.DB
	InboxDB  *sqlx.DB
	Broker   Broker
	Consumer string // in processed_events
	Topic    string // whose messages that consumer gets
	// Since bounds the comparison: an inbox forgets after its retention, so
	// what was published earlier cannot be judged. Zero: everything.
	Since time.Time
}

// Read makes one report. It is a verdict only when the system is settled:
// while messages move, those in a consumer's hands may look lost.
func (l Ledger) Read(ctx context.Context) (Report, error) {
	var r Report
	// Against the direction of travel, so that what moves meanwhile is seen
	// twice rather than not at all.
	since := l.Since
	if since.IsZero() {
		since = time.Unix(0, 0)
	}
	expected, err := openIDs(ctx, l.OutboxDB, l.expectedIDs(ctx), l.Topic, dialect(l.OutboxDB).Time(since))
	if err != nil {
		return r, fmt.Errorf("read the outbox: %w", err)
	}
	defer expected.close()
	if err := l.countOutbox(ctx, &r); err != nil {
		return r, fmt.Errorf("read the outbox: %w", err)
	}
	if r.InFlight, err = l.Broker.InFlight(ctx); err != nil {
		return r, fmt.Errorf("read the queues: %w", err)
	}
	aside, total, err := l.Broker.SetAside(ctx)
	if err != nil {
		return r, fmt.Errorf("read the dead-letter queue: %w", err)
	}
	r.DeadLettered = total
	applied, err := openIDs(ctx, l.InboxDB, appliedIDs, l.Consumer)
	if err != nil {
		return r, fmt.Errorf("read the inbox: %w", err)
	}
	defer applied.close()
	missing, err := r.compare(expected, applied, aside)
	if err != nil {
		return r, err
	}
	// Queues are counted, not read: what they hold excuses as many.
	r.Lost = max(0, missing-r.InFlight)
	if r.Duplicated, err = l.surplusEffects(ctx); err != nil {
		return r, fmt.Errorf("read the effects: %w", err)
	}
	return r, nil
}

// compare walks both sides in the order of their ids, counts the applied and
// returns how many expected events are neither applied nor set aside.
func (r *Report) compare(expected, applied *ids, aside map[string]bool) (missing int, err error) {
	for expected.next(); applied.next(); {
		r.Applied++
		for expected.ok && expected.id < applied.id {
			missing += absent(expected.id, aside)
			expected.next()
		}
		if expected.ok && expected.id == applied.id {
			expected.next()
		}
	}
	for ; expected.ok; expected.next() {
		missing += absent(expected.id, aside)
	}
	return missing, errors.Join(expected.err, applied.err)
}

func absent(id string, aside map[string]bool) int {
	if aside[id] {
		return 0
	}
	return 1
}

func (l Ledger) countOutbox(ctx context.Context, r *Report) error {
	var counts []struct {
		Status string
		N      int
	}
	if err := l.OutboxDB.SelectContext(ctx, &counts, `SELECT status, count(*) AS n FROM outbox_messages GROUP BY status`); err != nil {
		return sqldb.Schema(err)
	}
	for _, c := range counts {
		r.Outbox += c.N
		switch outbox.Status(c.Status) {
		case outbox.Pending:
			r.Pending = c.N
		case outbox.Published:
			r.Published = c.N
		case outbox.Dead:
			r.Dead = c.N
		}
	}
	return optional(l.OutboxDB.GetContext(ctx, &r.Orders, `SELECT count(*) FROM orders`))
}

// surplusEffects counts the notifications beyond the first of each event.
func (l Ledger) surplusEffects(ctx context.Context) (n int, err error) {
	err = l.InboxDB.GetContext(ctx, &n, `SELECT coalesce(sum(copies - 1), 0) FROM
		(SELECT count(*) AS copies FROM notifications GROUP BY event_id HAVING count(*) > 1) AS surplus`)
	return n, optional(err)
}

// optional forgives a missing table: services of the user's own have neither
// orders nor notifications.
func optional(err error) error {
	if errors.Is(sqldb.Schema(err), sqldb.ErrSchema) {
		return nil
	}
	return err
}

const (
	publishedIDs = `SELECT CAST(id AS text) AS id FROM outbox_messages
		WHERE status = 'published' AND topic = $1 AND published_at >= $2`
	// An order whose row is gone was published and purged; one that never had
	// a row was lost. Either way its event must be somewhere.
	orderedIDs = ` UNION SELECT CAST(event_id AS text) FROM orders
		WHERE created_at >= $2 AND NOT EXISTS (SELECT 1 FROM outbox_messages m WHERE m.id = orders.event_id)`
	appliedIDs = `SELECT event_id AS id FROM processed_events WHERE consumer = $1`
)

func (l Ledger) expectedIDs(ctx context.Context) string {
	var one int
	err := l.OutboxDB.GetContext(ctx, &one, `SELECT count(*) FROM orders WHERE 1 = 0`)
	if err == nil {
		return publishedIDs + orderedIDs
	}
	return publishedIDs
}

// dialect is that of a database which outbox or inbox has accepted already.
func dialect(db *sqlx.DB) sqldb.Dialect {
	d, err := sqldb.Detect(db.DriverName())
	if err != nil {
		return sqldb.PostgreSQL
	}
	return d
}

// ids is a cursor over event ids in byte order.
type ids struct {
	rows *sql.Rows
	id   string
	ok   bool
	err  error
}

func openIDs(ctx context.Context, db *sqlx.DB, query string, args ...any) (*ids, error) {
	collate := ` COLLATE "C"`
	if dialect(db) == sqldb.SQLite {
		collate = "" // byte order already
	}
	rows, err := db.QueryContext(ctx, `SELECT id FROM (`+query+`) AS ids ORDER BY id`+collate, args...)
	if err != nil {
		return nil, sqldb.Schema(err)
	}
	return &ids{rows: rows}, nil
}

// next moves to the next id and reports whether there is one.
func (c *ids) next() bool {
	if c.ok = c.err == nil && c.rows.Next(); !c.ok {
		c.err = errors.Join(c.err, c.rows.Err())
		return false
	}
	if err := c.rows.Scan(&c.id); err != nil {
		c.ok, c.err = false, err
	}
	return c.ok
}

func (c *ids) close() { _ = c.rows.Close() }
