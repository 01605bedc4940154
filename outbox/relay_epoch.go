package outbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Cursors, floors and snapshots are valid only for the database in which they were
// read. They are not after it was replaced or reset to an earlier state: a standby
// was promoted that lacked the last transactions, a backup was restored, the table
// truncated, a file replaced. Then seq continues from an earlier number, and new rows
// lie behind the cursors. So any sign of such a change makes the relay start over at
// the beginning of every bucket. Doing so without need costs one read.

// epoch is which database it is and how far, as one read sees it.
type epoch struct {
	Server   string `json:"server"`   // when it started; PostgreSQL's alone
	Database int64  `json:"database"` // its number; PostgreSQL's alone
	Table    int64  `json:"table"`    // the number of its file, another after TRUNCATE; PostgreSQL's alone
	Given    int64  `json:"given"`    // the highest seq given out; 0: none, or not ours to know
	Sign     int64  `json:"sign"`     // the relay's own sign of life; 0: there is none
}

// since says what has become another between two reads of a lane; "": nothing
// has. lost: the database is not as far as it was.
func (e epoch) since(before epoch) (change string, lost bool) {
	switch {
	case before == epoch{}:
		return "", false
	case e.Database != before.Database:
		return "it is another database", true
	case e.Table != before.Table:
		return "outbox_messages was truncated, restored or made anew", true
	case e.Given < before.Given:
		return fmt.Sprintf("numbers of messages were given out up to %d, and now only up to %d", before.Given, e.Given), true
	case e.Server != before.Server:
		return "the database server has started anew, or is another one", false
	}
	return "", false
}

// generations counts how often the relay has started over. Positions belong to
// the generation in which they were read.
type generations struct {
	mu      sync.Mutex
	current int
	logged  time.Time
}

func (g *generations) now() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current
}

// next begins another generation, unless the one that found out has ended. loud:
// it has been a while since that was logged.
func (g *generations) next(from int) (begun, loud bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.current != from {
		return false, false
	}
	g.current++
	loud = time.Since(g.logged) >= refusalLogInterval
	if loud {
		g.logged = time.Now()
	}
	return true, loud
}

// startOver makes the lanes forget their positions of the given generation,
// because of a change of the database.
func (r *Relay) startOver(ctx context.Context, from int, change string, lost bool) {
	begun, loud := r.generations.next(from)
	if !begun {
		return
	}
	if lost {
		r.monitor.reset()
	}
	switch {
	case loud && lost:
		r.log.ErrorContext(ctx, "the database was reset to an earlier state or replaced; every bucket is read from its beginning", "change", change)
	case loud:
		r.log.InfoContext(ctx, "every bucket is read from its beginning", "change", change)
	}
	r.Wake()
}

// signs are the signs of life that the relay has left in its row, each a random
// number. They tell the database in which its leases are from others.
type signs struct {
	mu       sync.Mutex
	last     int64         // 0: none
	doubtful []int64       // perhaps stored: the commit has not returned, or failed
	earlier  []earlierSign // for as long as a statement may run
}

type earlierSign struct {
	sign  int64
	until time.Time // when it was replaced
}

// errElsewhere: a connection leads to another database than the one in which
// the relay has its leases.
var errElsewhere = fmt.Errorf("this connection shows another sign of life than the relay has given: it leads to another database: %w", sqldb.ErrGiveUp)

// readable reports whether a statement that was sent to our database at a time
// may have seen sign.
func (s *signs) readable(sign int64, sent time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sign == s.last || slices.Contains(s.doubtful, sign) ||
		slices.ContainsFunc(s.earlier, func(e earlierSign) bool { return e.sign == sign && e.until.After(sent) })
}

// current reports whether sign is what must be there by now.
func (s *signs) current(sign int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last == 0 || sign == s.last || slices.Contains(s.doubtful, sign)
}

// expect notes a sign before it is sent: others may read it before the commit
// returns.
func (s *signs) expect(sign int64) {
	const most = 16 // tries while the database is away
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubtful = append(s.doubtful[max(0, len(s.doubtful)-most+1):], sign)
}

// stored notes that a sign is there.
func (s *signs) stored(sign int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.earlier = slices.DeleteFunc(s.earlier, func(e earlierSign) bool { return now.Sub(e.until) > statementTimeout })
	for _, replaced := range append(s.doubtful, s.last) {
		s.earlier = append(s.earlier, earlierSign{replaced, now})
	}
	s.last, s.doubtful = sign, nil
}

// adopt takes the sign that was found instead of ours for the last; 0: none.
func (s *signs) adopt(sign int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.doubtful, s.earlier = sign, nil, nil
}

// databaseFile is the file of a SQLite database, which may be replaced under the
// connections that have it open: they go on with one that nobody else sees.
type databaseFile struct {
	path     string
	known    os.FileInfo
	replaced time.Time
}

// fileCleanup is for how long after a file was replaced connections are given
// up: those that were in use come back to the pool later.
const fileCleanup = 30 * time.Second

// look reports whether the file was replaced since the last look. The error says
// that it is gone.
func (f *databaseFile) look(ctx context.Context, store *sqldb.Database) (replaced bool, err error) {
	if store.Dialect() != sqldb.SQLite {
		return false, nil
	}
	if f.path == "" {
		err := sqldb.Do(ctx, store.Handle(), func(ctx context.Context, conn *sqlx.Conn) error {
			return conn.GetContext(ctx, &f.path, `SELECT file FROM pragma_database_list WHERE name = 'main'`)
		})
		if err != nil || f.path == "" { // in memory
			return false, err
		}
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return false, errors.Join(fmt.Errorf("the database file is gone: %w", err), sqldb.DropIdle(ctx, store.Handle()))
	}
	if f.known != nil && !os.SameFile(info, f.known) {
		f.replaced, replaced = time.Now(), true
	}
	f.known = info
	if time.Since(f.replaced) < fileCleanup {
		err = sqldb.DropIdle(ctx, store.Handle())
	}
	return replaced, err
}
