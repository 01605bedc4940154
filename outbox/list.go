package outbox

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Limits of a page.
const (
	DefaultLimit = 50
	MaxLimit     = 1000
)

// ListQuery says which rows to look at; its zero value means the newest
// DefaultLimit. Filters add up. Those on status and time find their rows by an index; the
// others look through what is left, so on a big table give Since as well.
type ListQuery struct {
	Statuses      []Status  // any of these; empty: all. Pending includes what is being retried
	Retrying      bool      // only pending messages that have failed
	Topic         string    // exactly this
	Type          string    // exactly this
	Key           string    // exactly this
	CorrelationID string    // exactly this
	ErrorContains string    // part of the last error, in any case (on SQLite: of ASCII letters)
	Since         time.Time // enqueued at or after
	Until         time.Time // enqueued before
	// After is Page.Next of the page before; 0 starts.
	After int64
	// Limit is the size of a page, at most MaxLimit. Defaults to DefaultLimit.
	Limit int
	// OldestFirst turns the order, which is newest first, by seq.
	OldestFirst bool
	// WithoutPayload leaves Record.Payload nil, for lists that do not show it.
	WithoutPayload bool
}

// Page is one page of records.
type Page struct {
	Records []Record
	Next    int64 // ListQuery.After of the page that follows; 0: there is none
}

// List returns one page. Pages are cut by seq, so rows that come and go
// between two calls shift nothing. Errors: what is wrong with q, ErrSchema.
func (o *Outbox) List(ctx context.Context, q ListQuery) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, fmt.Errorf("outbox: list: %w", err)
	}
	limit := q.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	where := q.filter(o.dialect)
	switch {
	case q.After != 0 && q.OldestFirst:
		where.add("seq > ?", q.After)
	case q.After != 0:
		where.add("seq < ?", q.After)
	}
	records, err := o.selectRecords(ctx, where, q.OldestFirst, limit+1, !q.WithoutPayload)
	if err != nil {
		return Page{}, fmt.Errorf("outbox: list: %w", err)
	}
	if len(records) <= limit {
		return Page{Records: records}, nil
	}
	return Page{Records: records[:limit], Next: records[limit-1].Seq}, nil
}

// Get returns the row of that id, or ErrNotFound.
func (o *Outbox) Get(ctx context.Context, id uuid.UUID) (Record, error) {
	var where conditions
	where.add("id = "+o.uuidMark(), id.String())
	records, err := o.selectRecords(ctx, where, false, 1, true)
	if err != nil {
		return Record{}, fmt.Errorf("outbox: get %s: %w", id, err)
	}
	if len(records) == 0 {
		return Record{}, fmt.Errorf("outbox: get %s: %w", id, ErrNotFound)
	}
	return records[0], nil
}

// Count returns how many rows match q, counting no further than limit: more
// says that there are others. Cursor, page size and order of q are ignored.
func (o *Outbox) Count(ctx context.Context, q ListQuery, limit int) (n int, more bool, err error) {
	q.Limit, q.After = 0, 0
	if err := q.check(); err != nil {
		return 0, false, fmt.Errorf("outbox: count: %w", err)
	}
	if limit <= 0 {
		return 0, false, fmt.Errorf("outbox: count: limit: %d; must be positive", limit)
	}
	where := q.filter(o.dialect)
	query := o.dialect.Rebind(strings.Replace(o.queries.Get("count"), "TRUE", where.sql(), 1))
	if err := o.db.GetContext(ctx, &n, query, append(where.args, limit+1)...); err != nil {
		return 0, false, fmt.Errorf("outbox: count: %w", sqldb.Schema(err))
	}
	return min(n, limit), n > limit, nil
}

// selectRecords runs list.sql with the given conditions, order and limit.
func (o *Outbox) selectRecords(ctx context.Context, where conditions, oldestFirst bool, limit int, payload bool) ([]Record, error) {
	args := slices.Concat([]any{payload}, where.args, []any{limit})
	rows, err := o.db.QueryxContext(ctx, o.listQuery(where, oldestFirst), args...)
	if err != nil {
		return nil, sqldb.Schema(err)
	}
	return scanRecords(rows)
}

func (o *Outbox) listQuery(where conditions, oldestFirst bool) string {
	query := strings.Replace(o.queries.Get("list"), "TRUE", where.sql(), 1)
	if oldestFirst {
		query = strings.ReplaceAll(query, "seq DESC", "seq")
	}
	return o.dialect.Rebind(query)
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

// filter turns the filters of q into conditions both dialects understand.
func (q ListQuery) filter(d Dialect) (where conditions) {
	if len(q.Statuses) > 0 {
		// Literals, checked before, and alternatives: partial indexes serve
		// neither parameters nor IN.
		where.add("status = '" + joinStatuses(q.Statuses, "' OR status = '") + "'")
	}
	if q.Retrying {
		where.add("status = 'pending' AND attempts > 0")
	}
	for _, f := range []struct{ column, value string }{
		{"topic", q.Topic}, {"type", q.Type}, {"key", q.Key}, {"correlation_id", q.CorrelationID},
	} {
		if f.value != "" {
			where.add(f.column+" = ?", f.value)
		}
	}
	if q.ErrorContains != "" {
		where.add(`lower(last_error) LIKE lower(?) ESCAPE '\'`, "%"+likeEscaper.Replace(q.ErrorContains)+"%")
	}
	if !q.Since.IsZero() {
		where.add("created_at >= ?", d.Time(q.Since))
		// With an end to it, SQLite's planner believes that the span is short.
		q.Until = cmp.Or(q.Until, endOfTime)
	}
	if !q.Until.IsZero() {
		where.add("created_at < ?", d.Time(q.Until))
	}
	return where
}

// endOfTime is the last moment that all parties can write.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// conditions are parts of a WHERE that must all hold, with their arguments.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(part string, args ...any) {
	c.parts = append(c.parts, "("+part+")")
	c.args = append(c.args, args...)
}

func (c *conditions) sql() string {
	if len(c.parts) == 0 {
		return "TRUE"
	}
	return strings.Join(c.parts, " AND ")
}

func joinStatuses(statuses []Status, separator string) string {
	var b strings.Builder
	for i, s := range statuses {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(string(s))
	}
	return b.String()
}
