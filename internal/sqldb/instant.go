package sqldb

import (
	"fmt"
	"time"
)

// Times on SQLite. It has no type for them, so outbox and inbox follow one
// convention:
//
//   - A column is declared timestamp and holds text in UTC with six digits of a
//     second, 2006-01-02 15:04:05.000000. Such texts are equal if the times
//     are, and sort as they do. The declaration makes drivers scan the column
//     into a time.Time; a CHECK refuses other texts.
//   - The database's clock is strftime('%Y-%m-%d %H:%M:%f000', 'now'): it ticks
//     in milliseconds and stands still within a statement. strftime('%Y-%m-%d
//     %H:%M:%f000', 'now', '-1.5 seconds') is a while ago.
//   - Go values become arguments by Dialect.Time, never directly: drivers write
//     a time.Time in different forms.
//   - Results are scanned into an Instant, because computed columns come back
//     as text. What is computed and scanned into a string, such as a cursor,
//     needs CAST(... AS text), or drivers change its form.
const sqliteTime = "2006-01-02 15:04:05.000000"

// Time returns t as an argument that compares with the dialect's times, to the
// microsecond. The zero time is NULL.
func (d Dialect) Time(t time.Time) any {
	switch {
	case t.IsZero():
		return nil
	case d == SQLite:
		return t.UTC().Format(sqliteTime)
	}
	return t.UTC()
}

// TimeText returns the text of Time for a JSON document, which means the same
// with all session settings; nil for the zero time.
func (d Dialect) TimeText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(sqliteTime)
	if d == PostgreSQL {
		text += "Z"
	}
	return &text
}

// Instant scans a time of either dialect, in UTC. NULL is the zero time.
type Instant struct{ time.Time }

// Scan implements sql.Scanner.
func (i *Instant) Scan(value any) (err error) {
	switch v := value.(type) {
	case nil:
		i.Time = time.Time{}
	case time.Time:
		i.Time = v.UTC()
	case string:
		i.Time, err = time.Parse(time.DateTime, v) // accepts a fraction as well
	case []byte:
		i.Time, err = time.Parse(time.DateTime, string(v))
	default:
		err = fmt.Errorf("%T is not a time", value)
	}
	return err
}
