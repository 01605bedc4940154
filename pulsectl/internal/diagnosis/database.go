package diagnosis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// Database is a database to look at.
type Database struct {
	Name         string // outbox or inbox: the first part of its checks
	DB           *sqlx.DB
	Tables       []string // the first one is the big one
	VersionTable string
	ReadTables   []string // which nobody but an operator has to write
	CheckSchema  func(context.Context) error
	CheckReady   func(context.Context) error
	// Connections is how many connections its relays or consumers need together,
	// and Need how that was counted.
	Connections int
	Need        string
	// Other is the database of the other side, already looked at. What belongs to
	// the server is not reported twice.
	Other *Database

	server string // identifies the server
}

func (d *Database) check(what string) string { return d.Name + "." + what }

// look is the look at one database.
type look struct {
	*Database
	*Report
	o Options
}

// LookAtDatabase reports on a database that answers.
func LookAtDatabase(ctx context.Context, r *Report, d *Database, o Options) {
	l := look{d, r, o}
	dialect, err := sqldb.Detect(d.DB.DriverName())
	if err != nil {
		l.unseen(d.check("version"), err)
		return
	}
	if dialect == sqldb.SQLite {
		l.sqliteVersion(ctx)
		if l.schema(ctx) {
			l.writes(ctx)
			l.sqliteFile(ctx)
		}
		return
	}
	l.version(ctx)
	there := l.schema(ctx)
	if there {
		l.writes(ctx)
		l.privileges(ctx)
		l.vacuum(ctx)
	}
	l.pooler(ctx)
	l.certificates(ctx)
	if l.sameServer(ctx) {
		l.ok(d.check("server"), "the same server as that of the %s: see there for connections, commit, snapshots, slots, clock", d.Other.Name)
		return
	}
	l.connections(ctx)
	l.commit(ctx)
	l.snapshots(ctx)
	l.slots(ctx)
	l.clock(ctx)
}

// schema reports whether the tables are there.
func (l look) schema(ctx context.Context) bool {
	check := l.check("schema")
	switch err := l.CheckSchema(ctx); {
	case err == nil:
		l.ok(check, "the tables are those of this version")
		return true
	case errors.Is(err, sqldb.ErrSchema):
		l.fail(check, "run: pulsectl migrate up --only "+l.Name, "%v", err)
	default:
		l.unseen(check, err)
	}
	return false
}

// writes tries what a service does, in a transaction that is rolled back.
func (l look) writes(ctx context.Context) {
	check := l.check("writes")
	err := l.CheckReady(ctx)
	switch sqldb.Judge(err) {
	case sqldb.NoTrouble:
		l.ok(check, "the database takes writes")
	case sqldb.ReadOnly:
		l.fail(check, "connect to the primary; see docs/operations.md, When the primary changes", "the database takes no writes: %v", err)
	case sqldb.Refused:
		l.Unknown(check, "see "+l.check("privileges")+" for the roles of the services", "pulsectl's own role may not write: %v", err)
	default:
		if errors.Is(err, sqldb.ErrBusy) {
			l.warn(check, "find the process that keeps its transaction open", "%v", err)
			return
		}
		l.fail(check, "", "%v", err)
	}
}

// clockLimit is a difference of clocks that is reported: leases and retries go
// by the database's clock, logs and certificates by others.
const clockLimit = 5 * time.Second

// judgeClock reports a clock that showed then at some moment between before and
// after by the clock of this machine, to a precision.
func (r *Report) judgeClock(check, whose string, before, then, after time.Time, precision time.Duration) {
	middle := before.Add(after.Sub(before) / 2)
	unsure := after.Sub(before)/2 + precision
	off := then.Sub(middle)
	switch {
	case off.Abs()-unsure > clockLimit && off > 0:
		r.warn(check, "synchronise the clocks of both machines: timedatectl status", "%s is %s ahead of this machine", whose, off.Round(time.Second))
	case off.Abs()-unsure > clockLimit:
		r.warn(check, "synchronise the clocks of both machines: timedatectl status", "%s is %s behind this machine", whose, off.Abs().Round(time.Second))
	default:
		r.ok(check, "%s agrees with this machine to %s", whose, max(off.Abs()+unsure, time.Millisecond).Round(time.Millisecond))
	}
}

func (l look) sqliteVersion(ctx context.Context) {
	var version string
	check := l.check("version")
	if err := l.DB.GetContext(ctx, &version, `SELECT sqlite_version()`); err != nil {
		l.unseen(check, err)
		return
	}
	var major, minor int
	if _, err := fmt.Sscanf(version, "%d.%d", &major, &minor); err != nil || major < 3 || major == 3 && minor < 43 {
		l.fail(check, "use SQLite 3.43 or later", "SQLite %s", version)
		return
	}
	l.ok(check, "SQLite %s, in this pulsectl", version)
}

// largeFile is a size below which free space in a file is not worth a word.
const largeFile = 64 << 20

func (l look) sqliteFile(ctx context.Context) {
	var mode string
	if err := l.DB.GetContext(ctx, &mode, `PRAGMA journal_mode`); err != nil {
		l.unseen(l.check("commit"), err)
	} else if mode != "wal" {
		l.warn(l.check("commit"), "open the file as outbox/sqlite does", "journal_mode is %s: readers and the writer wait for each other", mode)
	} else {
		l.ok(l.check("commit"), "journal_mode is wal")
	}
	var pages struct {
		Pages, Free, Size int64
	}
	err := l.DB.GetContext(ctx, &pages, `SELECT (SELECT page_count FROM pragma_page_count()) AS pages,
		(SELECT freelist_count FROM pragma_freelist_count()) AS free, (SELECT page_size FROM pragma_page_size()) AS size`)
	switch free := pages.Free * pages.Size; {
	case err != nil:
		l.unseen(l.check("vacuum"), err)
	case free > largeFile && pages.Free > pages.Pages/2:
		l.warn(l.check("vacuum"), "run in the file, while nothing writes: VACUUM", "%s of %s are free pages", bytes(free), bytes(pages.Pages*pages.Size))
	default:
		l.ok(l.check("vacuum"), "the file has %s, %s of them free", bytes(pages.Pages*pages.Size), bytes(free))
	}
}

func bytes(n int64) string {
	const unit = 1024
	switch {
	case n < unit*unit:
		return fmt.Sprintf("%d KiB", n/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%d MiB", n/unit/unit)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
}
