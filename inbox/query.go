package inbox

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Limits of a page, 50 and 1000 records.
const (
	DefaultLimit = sqldb.DefaultPage
	MaxLimit     = sqldb.MaxPage
)

// Record is one applied event.
type Record struct {
	EventID       string
	Topic         string
	CorrelationID string
	PayloadHash   [sha256.Size]byte // SHA-256 of the payload
	OccurredAt    time.Time         // by the producer; zero: it did not say
	ProcessedAt   time.Time         // by the database
}

// ListQuery selects records; its zero value means the newest
// DefaultLimit. Filters add up. Since and Until bound what is read; the others
// look through it, so on a big table give Since as well.
type ListQuery struct {
	EventID       string    // exactly this
	Topic         string    // exactly this
	CorrelationID string    // exactly this
	Since         time.Time // processed at or after
	Until         time.Time // processed before
	// After is Page.Next of the page before; empty starts.
	After string
	// Limit is the size of a page, at most MaxLimit. Defaults to DefaultLimit.
	Limit int
}

// Page is one page of records, newest first.
type Page struct {
	Records []Record
	Next    string // ListQuery.After of the page that follows; empty: there is none
}

// List returns one page of what this consumer has applied. Pages are cut by
// time and event id, so rows that come and go between two calls shift nothing.
// Errors: what is wrong with q, ErrSchema.
func (in *Inbox) List(ctx context.Context, q ListQuery) (Page, error) {
	at, id, err := q.check()
	if err != nil {
		return Page{}, fmt.Errorf("inbox: list: %w", err)
	}
	limit := q.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	var rows []recordRow
	err = in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Select(ctx, &rows, "list", in.consumer, q.EventID, q.Topic, q.CorrelationID,
			in.dialect.Time(q.Since), in.dialect.Time(q.Until), in.dialect.Time(at), id, limit+1)
	})
	if err != nil {
		return Page{}, fmt.Errorf("inbox: list: %w", in.store.Failed(err))
	}
	var page Page
	if len(rows) > limit {
		rows = rows[:limit]
		page.Next = cursor(rows[limit-1])
	}
	for _, row := range rows {
		page.Records = append(page.Records, row.record())
	}
	return page, nil
}

// Count returns how many records match q, up to limit; more reports whether there
// are others. After and Limit of q are ignored.
func (in *Inbox) Count(ctx context.Context, q ListQuery, limit int) (n int, more bool, err error) {
	if limit <= 0 {
		return 0, false, fmt.Errorf("inbox: count: limit: %d; must be positive", limit)
	}
	err = in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		return tx.Get(ctx, &n, "count", in.consumer, q.EventID, q.Topic, q.CorrelationID,
			in.dialect.Time(q.Since), in.dialect.Time(q.Until), limit+1)
	})
	if err != nil {
		return 0, false, fmt.Errorf("inbox: count: %w", in.store.Failed(err))
	}
	return min(n, limit), n > limit, nil
}

// Get returns the record of an event id, or ErrNotFound.
func (in *Inbox) Get(ctx context.Context, eventID string) (Record, error) {
	var row recordRow
	err := in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Get(ctx, &row, "get", in.consumer, eventID) })
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Record{}, fmt.Errorf("inbox: event %q of consumer %q: %w", eventID, in.consumer, ErrNotFound)
	case err != nil:
		return Record{}, fmt.Errorf("inbox: get event %q: %w", eventID, in.store.Failed(err))
	}
	return row.record(), nil
}

// Applied returns those of the given event ids that this consumer has applied and
// remembers.
func (in *Inbox) Applied(ctx context.Context, eventIDs []string) (map[string]bool, error) {
	known := make(map[string]bool)
	if len(eventIDs) == 0 {
		return known, nil
	}
	found, err := in.lookUp(ctx, eventIDs)
	if err != nil {
		return nil, fmt.Errorf("inbox: applied: %w", in.store.Failed(err))
	}
	for id := range found {
		known[id] = true
	}
	return known, nil
}

// Consumers returns the names of all consumers that have applied something in
// this database, sorted.
func (in *Inbox) Consumers(ctx context.Context) ([]string, error) {
	var names []string
	err := in.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return tx.Select(ctx, &names, "consumers") })
	if err != nil {
		return nil, fmt.Errorf("inbox: consumers: %w", in.store.Failed(err))
	}
	return names, nil
}

type recordRow struct {
	EventID       string        `db:"event_id"`
	Topic         string        `db:"topic"`
	PayloadHash   []byte        `db:"payload_hash"`
	CorrelationID string        `db:"correlation_id"`
	OccurredAt    sqldb.Instant `db:"occurred_at"`
	ProcessedAt   sqldb.Instant `db:"processed_at"`
}

func (r recordRow) record() Record {
	record := Record{EventID: r.EventID, Topic: r.Topic, CorrelationID: r.CorrelationID,
		OccurredAt: r.OccurredAt.Time, ProcessedAt: r.ProcessedAt.Time}
	copy(record.PayloadHash[:], r.PayloadHash)
	return record
}

// check returns where the cursor points to and every problem at once.
func (q ListQuery) check() (at time.Time, id string, err error) {
	var problems []error
	if q.Limit < 0 || q.Limit > MaxLimit {
		problems = append(problems, fmt.Errorf("Limit: %d; must be 1 to %d, or 0 for %d", q.Limit, MaxLimit, DefaultLimit))
	}
	if q.After != "" {
		if at, id, err = parseCursor(q.After); err != nil {
			problems = append(problems, fmt.Errorf("After: %q is no Page.Next", q.After))
		}
	}
	return at, id, errors.Join(problems...)
}

// A cursor is the time and event id of the last row seen, opaque to callers.
func cursor(r recordRow) string {
	return base64.RawURLEncoding.EncodeToString([]byte(r.ProcessedAt.Format(time.RFC3339Nano) + " " + r.EventID))
}

func parseCursor(s string) (at time.Time, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return at, "", err
	}
	instant, id, _ := strings.Cut(string(text), " ")
	at, err = time.Parse(time.RFC3339Nano, instant)
	if err == nil && (!utf8.ValidString(id) || strings.ContainsRune(id, 0)) {
		err = errors.New("no event id") // PostgreSQL could not compare it
	}
	return at, id, err
}
