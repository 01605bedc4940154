package outbox

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Limits of a page, 50 and 1000 messages.
const (
	DefaultLimit = sqldb.DefaultPage
	MaxLimit     = sqldb.MaxPage
)

// ListQuery selects messages; the zero value selects the newest DefaultLimit. A
// message must match all filters. Only the filters on status and time use an index:
// on a large table set Since together with the others.
type ListQuery struct {
	Statuses      []Status  // any of these, or all if empty; Pending includes retrying messages
	Retrying      bool      // only pending messages that have failed
	Topic         string    // exactly this
	Type          string    // exactly this
	Key           string    // exactly this
	CorrelationID string    // exactly this
	CausationID   string    // exactly this: what that message caused
	ErrorContains string    // part of the last error, in any case (on SQLite: of ASCII letters)
	Since         time.Time // enqueued at or after
	Until         time.Time // enqueued before
	// After is Page.Next of the page before; 0 starts.
	After int64
	// Limit is the size of a page, at most MaxLimit. Defaults to DefaultLimit.
	Limit int
	// OldestFirst reverses the order, which is newest first, by seq.
	OldestFirst bool
	// WithoutPayload leaves Record.Payload nil.
	WithoutPayload bool
}

// Page is one page of records.
type Page struct {
	Records []Record
	Next    int64 // ListQuery.After of the next page; 0 if there is none
}

// listBytes bounds what a page holds of payloads and headers: a page of large
// messages is shorter than its limit.
const listBytes = 16 << 20

// List returns one page. Pages are delimited by seq, so that rows inserted or
// deleted between two calls do not shift them. A page with large payloads may be
// shorter than Limit; Next is set then. The error lists what is invalid in q, or is
// ErrSchema.
func (o *Outbox) List(ctx context.Context, q ListQuery) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, fmt.Errorf("outbox: list: %w", err)
	}
	q.Limit = cmp.Or(q.Limit, DefaultLimit)
	page, err := o.page(ctx, q, uuid.NullUUID{}, listBytes)
	if err != nil {
		return Page{}, fmt.Errorf("outbox: list: %w", err)
	}
	return page, nil
}

// Get returns the message with that id, or ErrNotFound.
func (o *Outbox) Get(ctx context.Context, id uuid.UUID) (Record, error) {
	page, err := o.page(ctx, ListQuery{Limit: 1}, uuid.NullUUID{UUID: id, Valid: true}, listBytes)
	if err != nil {
		return Record{}, fmt.Errorf("outbox: get %s: %w", id, err)
	}
	if len(page.Records) == 0 {
		return Record{}, fmt.Errorf("outbox: get %s: %w", id, ErrNotFound)
	}
	return page.Records[0], nil
}

// Count returns how many messages match q, up to limit; more reports whether there
// are others. After, Limit and OldestFirst of q are ignored. It counts a selection,
// while the type Count is a number that may be an estimate.
func (o *Outbox) Count(ctx context.Context, q ListQuery, limit int) (n int, more bool, err error) {
	q.Limit, q.After = 0, 0
	if err := q.check(); err != nil {
		return 0, false, fmt.Errorf("outbox: count: %w", err)
	}
	if limit <= 0 {
		return 0, false, fmt.Errorf("outbox: count: limit: %d; must be positive", limit)
	}
	err = o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		args := append(q.args(o.dialect, uuid.NullUUID{}), limit+1)
		return tx.GetAdapted(ctx, &n, "count", q.adapt(o.dialect, uuid.NullUUID{}), args...)
	})
	if err != nil {
		return 0, false, fmt.Errorf("outbox: count: %w", sqldb.Explain(err))
	}
	return min(n, limit), n > limit, nil
}

// page runs list.sql for q, or for one id.
func (o *Outbox) page(ctx context.Context, q ListQuery, id uuid.NullUUID, bytes int) (page Page, err error) {
	args := append(q.args(o.dialect, id), !q.WithoutPayload, q.Limit+1, bytes)
	var matching int
	err = o.store.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		var found []row
		if err := tx.SelectAdapted(ctx, &found, "list", q.adapt(o.dialect, id), args...); err != nil {
			return err
		}
		page.Records = make([]Record, 0, len(found))
		for _, r := range found {
			record, err := r.record()
			if err != nil {
				return err
			}
			page.Records, matching = append(page.Records, record), r.Matching
		}
		return nil
	})
	if err != nil {
		return Page{}, sqldb.Explain(err)
	}
	page.Records = page.Records[:min(len(page.Records), q.Limit)]
	if n := len(page.Records); matching > n {
		page.Next = page.Records[n-1].Seq
	}
	return page, nil
}

// check returns everything that is wrong with q.
func (q ListQuery) check() error {
	var problems []string
	for _, s := range q.Statuses {
		if _, err := ParseStatus(string(s)); err != nil {
			problems = append(problems, "Statuses: "+err.Error())
		}
	}
	if q.Limit < 0 || q.Limit > MaxLimit {
		problems = append(problems, fmt.Sprintf("Limit: %d; must be 0 to %d", q.Limit, MaxLimit))
	}
	if q.After < 0 {
		problems = append(problems, fmt.Sprintf("After: %d; must be Page.Next of the page before, or 0", q.After))
	}
	if !q.Since.IsZero() && !q.Until.IsZero() && !q.Since.Before(q.Until) {
		problems = append(problems, "Since: is not before Until")
	}
	if len(problems) > 0 {
		return fmt.Errorf("bad query: %s", strings.Join(problems, "; "))
	}
	return nil
}

// args are the parameters of filter.sql, from the first to the seventeenth.
func (q ListQuery) args(d sqldb.Dialect, id uuid.NullUUID) []any {
	has := func(s Status) bool { return slices.Contains(q.Statuses, s) }
	from, to := int64(0), q.After
	if q.OldestFirst {
		from, to = q.After, 0
	}
	pattern := ""
	if q.ErrorContains != "" {
		pattern = "%" + likeEscaper.Replace(q.ErrorContains) + "%"
	}
	return []any{
		len(q.Statuses) == 0, has(Pending), has(Published), has(Dead), has(Discarded), q.Retrying,
		sql.NullString{String: id.UUID.String(), Valid: id.Valid}, q.Topic, q.Type, q.Key, q.CorrelationID, pattern,
		d.Time(q.Since), d.Time(q.Until), from, cmp.Or(to, math.MaxInt64), q.CausationID,
	}
}

// adapt completes the text of a query: with filter.sql, one text whatever is
// asked for, as drivers and servers keep each they see. SQLite's planner does
// not look at parameters, and nobody keeps its texts: there the conditions are
// those that are asked for.
func (q ListQuery) adapt(d sqldb.Dialect, id uuid.NullUUID) sqldb.Adapt {
	return func(other func(name string) string, text string) string {
		where := ""
		if d == sqldb.SQLite {
			where = q.conditions(id)
		} else {
			where = other("filter")
		}
		text = strings.Replace(text, "TRUE", where, 1)
		if q.OldestFirst {
			text = strings.ReplaceAll(text, "seq DESC", "seq")
		}
		return text
	}
}

// conditions says in SQLite's words what filter.sql says in PostgreSQL's.
func (q ListQuery) conditions(id uuid.NullUUID) string {
	if id.Valid {
		return "id = ?7"
	}
	parts := []string{"seq > ?15 AND seq < ?16"}
	if !q.Since.IsZero() || !q.Until.IsZero() {
		// The primary key is kept out of it, and with both ends the planner believes that the span is short.
		parts = []string{"+seq > ?15 AND +seq < ?16", "created_at >= coalesce(?13, '0001-01-01') AND created_at < coalesce(?14, '9999-12-31')"}
	}
	var states []string
	for _, s := range Statuses() {
		if slices.Contains(q.Statuses, s) {
			// Literals and alternatives: partial indexes serve neither parameters nor IN.
			states = append(states, "status = '"+string(s)+"'")
		}
	}
	if len(states) > 0 {
		parts = append(parts, "("+strings.Join(states, " OR ")+")")
	}
	if q.Retrying {
		parts = append(parts, "status = 'pending' AND attempts > 0")
	}
	for _, f := range []struct{ value, condition string }{
		{q.Topic, "topic = ?8"}, {q.Type, "type = ?9"}, {q.Key, "key = ?10"}, {q.CorrelationID, "correlation_id = ?11"},
		{q.CausationID, "causation_id = ?17"},
		{q.ErrorContains, `lower(last_error) LIKE lower(?12) ESCAPE '\'`},
	} {
		if f.value != "" {
			parts = append(parts, f.condition)
		}
	}
	return strings.Join(parts, " AND ")
}

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
