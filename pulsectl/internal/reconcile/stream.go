package reconcile

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/outbox"
)

// Each database is read by one statement, which is a snapshot: it sees what a
// transaction wrote to two tables in both or in neither. Its rows are sorted by
// event id, byte by byte, and rows of one id are combined here, so that memory
// does not grow with their number.

// committed is what the producer's side has of an event.
type committed struct {
	id     string
	topic  string
	status outbox.Status // empty: no outbox row
	newer  bool          // enqueued after the cut
	at     time.Time     // when it was published, or else enqueued
	body   bodyHash      // of the outbox row
	orders int           // rows of the service's own table
	// ordered is the time of the first of those rows; zero: unknown.
	ordered time.Time
}

// applied is what the consumer's side has of an event.
type applied struct {
	id       string
	inInbox  bool
	topic    string
	at       time.Time // when it was applied, or published if the producer's time is earlier
	body     bodyHash  // of the applied message
	effects  int
	effected time.Time // time of the first; zero: unknown
}

// committedQuery reads the outbox and the orders. $1 is the cut, $2 the topics.
func (l Comparison) committedQuery() string {
	d := dialect(l.OutboxDB)
	query := `SELECT CAST(id AS text) AS id, 'm' AS origin, topic, status, seq > $1 AS newer, coalesce(published_at, created_at) AS at, ` + hashable(d) + ` AS body
		FROM outbox_messages WHERE topic IN (` + elements(d, 2) + `)`
	if l.Orders != nil {
		query += ` UNION ALL SELECT CAST(` + quote(l.Orders.Name) + ` AS text), 'o', '', '', 1 = 0, ` + l.Orders.at(d) + `, NULL
		FROM ` + l.Orders.quoted() + ` WHERE ` + quote(l.Orders.Name) + ` IS NOT NULL`
	}
	return sorted(d, query)
}

// appliedQuery reads the inbox and the effects. $1 is the consumer.
func (l Comparison) appliedQuery() string {
	d := dialect(l.InboxDB)
	earlier := "least"
	if d == sqldb.SQLite {
		earlier = "min"
	}
	query := `SELECT event_id AS id, 'p' AS origin, topic, ` + earlier + `(processed_at, coalesce(occurred_at, processed_at)) AS at, payload_hash
		FROM processed_events WHERE consumer = $1`
	if l.Effects != nil {
		query += ` UNION ALL SELECT CAST(` + quote(l.Effects.Name) + ` AS text), 'e', '', ` + l.Effects.at(d) + `, NULL
		FROM ` + l.Effects.quoted() + ` WHERE ` + quote(l.Effects.Name) + ` IS NOT NULL`
	}
	return sorted(d, query)
}

func sorted(d sqldb.Dialect, query string) string {
	collation := `"C"`
	if d == sqldb.SQLite {
		collation = "BINARY"
	}
	return `SELECT * FROM (` + query + `) AS rows_of_ids ORDER BY id COLLATE ` + collation
}

// elements returns SQL for a list of texts, passed as JSON in parameter n.
func elements(d sqldb.Dialect, n int) string {
	if d == sqldb.SQLite {
		return fmt.Sprintf("SELECT value FROM json_each($%d)", n)
	}
	return fmt.Sprintf("SELECT json_array_elements_text(CAST(CAST($%d AS text) AS json))", n)
}

// list encodes a list of texts as a parameter.
func list(texts []string) string {
	raw, err := json.Marshal(texts)
	if err != nil { // texts can always be encoded
		panic(err)
	}
	return string(raw)
}

// cursor iterates over sorted rows and combines those of one id.
type cursor[T any] struct {
	rows  *sql.Rows
	scan  func(*sql.Rows) (id string, add func(*T), err error)
	begin func(id string) T

	item T
	ok   bool
	err  error

	ahead struct { // the next row, already read
		id  string
		add func(*T)
		ok  bool
	}
}

func openCursor[T any](ctx context.Context, db *sqlx.DB, query string, args []any, scan func(*sql.Rows) (string, func(*T), error), begin func(string) T) (*cursor[T], error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, sqldb.Schema(err)
	}
	c := &cursor[T]{rows: rows, scan: scan, begin: begin}
	c.read()
	c.next()
	return c, nil
}

// next moves to the next id; ok reports whether there is one.
func (c *cursor[T]) next() {
	if c.ok = c.ahead.ok; !c.ok {
		return
	}
	id := c.ahead.id
	c.item = c.begin(id)
	for c.ahead.ok && c.ahead.id == id {
		c.ahead.add(&c.item)
		c.read()
	}
}

func (c *cursor[T]) read() {
	c.ahead.ok = false
	if c.err != nil {
		return
	}
	if !c.rows.Next() {
		c.err = sqldb.Schema(c.rows.Err())
		return
	}
	c.ahead.id, c.ahead.add, c.err = c.scan(c.rows)
	c.ahead.ok = c.err == nil
}

func (c *cursor[T]) close() { _ = c.rows.Close() }

func (l Comparison) openCommitted(ctx context.Context, cut int64) (*cursor[committed], error) {
	d := dialect(l.OutboxDB)
	return openCursor(ctx, l.OutboxDB, l.committedQuery(), []any{cut, list(l.Topics)},
		func(rows *sql.Rows) (string, func(*committed), error) {
			var id, origin, topic, status string
			var newer bool
			var at anyTime
			var body sql.RawBytes
			if err := rows.Scan(&id, &origin, &topic, &status, &newer, &at, &body); err != nil {
				return "", nil, err
			}
			hash := readHash(d, body)
			return id, func(c *committed) {
				if origin == "m" {
					c.topic, c.status, c.newer, c.at, c.body = topic, outbox.Status(status), newer, at.Time, hash
					return
				}
				if c.orders++; c.orders == 1 || at.Before(c.ordered) {
					c.ordered = at.Time
				}
			}, nil
		}, func(id string) committed { return committed{id: id} })
}

func (l Comparison) openApplied(ctx context.Context) (*cursor[applied], error) {
	return openCursor(ctx, l.InboxDB, l.appliedQuery(), []any{l.Consumer},
		func(rows *sql.Rows) (string, func(*applied), error) {
			var id, origin, topic string
			var at anyTime
			var hash sql.RawBytes
			if err := rows.Scan(&id, &origin, &topic, &at, &hash); err != nil {
				return "", nil, err
			}
			var body bodyHash
			copy(body[:], hash)
			return id, func(a *applied) {
				if origin == "p" {
					a.inInbox, a.topic, a.at, a.body = true, topic, at.Time, body
					return
				}
				if a.effects++; a.effects == 1 || at.Before(a.effected) {
					a.effected = at.Time
				}
			}, nil
		}, func(id string) applied { return applied{id: id} })
}

// anyTime scans a time as sqldb.Instant does. A value that is not a time, which
// a service's own column may hold on SQLite, is the zero time.
type anyTime struct{ time.Time }

func (t *anyTime) Scan(value any) error {
	var instant sqldb.Instant
	if instant.Scan(value) == nil {
		t.Time = instant.Time
		return nil
	}
	t.Time = time.Time{}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if text, isText := value.(string); isText {
			if at, err := time.Parse(layout, text); err == nil {
				t.Time = at.UTC()
			}
		}
	}
	return nil
}
