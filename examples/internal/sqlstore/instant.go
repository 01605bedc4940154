package sqlstore

import (
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
)

// sqliteTime is the form in which the example's SQLite tables hold times, in
// UTC: such texts sort as the times do.
const sqliteTime = "2006-01-02 15:04:05.000000"

// TimeArg is t as an argument of a statement. SQLite has no type for times, and
// drivers write a time.Time in forms of their own.
func TimeArg(d outbox.Dialect, t time.Time) any {
	if d == outbox.SQLite {
		return t.UTC().Format(sqliteTime)
	}
	return t.UTC()
}

// Instant scans a time of either database, in UTC.
type Instant struct{ time.Time }

// Scan implements sql.Scanner.
func (i *Instant) Scan(value any) (err error) {
	switch v := value.(type) {
	case time.Time:
		i.Time = v.UTC()
	case string:
		i.Time, err = time.Parse(sqliteTime, v)
	default:
		err = fmt.Errorf("%T is no time", value)
	}
	return err
}
