package sqlstore

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
)

// trouble is what an error of the database means.
type trouble int

const (
	none    trouble = iota // the database is well: the statement or its values are at fault
	retry                  // the same may succeed at once: deadlock, serialization, a busy SQLite file
	timeout                // a deadline has passed, perhaps because the database is cut off
	away                   // does not answer, or serves nobody
	refuses                // answers, and somebody has to act: credentials, rights, a file that cannot be opened
	schema                 // tables are missing
)

// Unavailable reports whether err says that the database cannot serve the
// request now, rather than that the request or the program is wrong.
func Unavailable(err error) bool { return judge(err) != none }

// Unanswered reports whether err says that the database does not answer now, and
// may do so again without anybody's doing.
func Unanswered(err error) bool {
	return slices.Contains([]trouble{retry, timeout, away}, judge(err))
}

// judge tells what err means. Other errors than a database's are none.
func judge(err error) trouble {
	if err == nil {
		return none
	}
	if errors.Is(err, outbox.ErrSchema) {
		return schema
	}
	// Both pgx and lib/pq have the method.
	if e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return judgeState(e.SQLState())
	}
	if text := err.Error(); strings.Contains(text, "sqlite3: ") {
		return judgeSQLite(text)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case untrusted:
		return refuses
	case errors.Is(err, postgres.ErrNotConnected):
		return away
	case errors.Is(err, context.DeadlineExceeded):
		return timeout
	case network, errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return away
	}
	return none
}

// judgeState reads an SQLSTATE: its first two characters are the class.
// Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
func judgeState(state string) trouble {
	switch state {
	case "25006": // read-only: a standby
		return away
	case "25P03", "25P04", "55P03": // idle or open for too long, lock not available
		return retry
	case "26000", "42P05": // a pooler has swapped the session
		return away
	case "42501": // insufficient privilege
		return refuses
	case "42P01", "42703", "3F000": // no such table, column, schema
		return schema
	case "57014": // cancelled
		return timeout
	case "40002": // an integrity constraint
		return none
	}
	switch state[:2] {
	case "08", "53", "57", "58", "F0", "XX": // connection, resources, shutdown, system, configuration, internal
		return away
	case "28", "3D": // authorization, no such database
		return refuses
	case "40", "72": // rollback, snapshot too old
		return retry
	}
	return none
}

// judgeSQLite reads the text of an error: the driver is not part of every build.
func judgeSQLite(text string) trouble {
	for _, c := range []struct {
		says    string
		trouble trouble
	}{
		{"is locked", retry}, {"schema has changed", retry}, {"interrupted", timeout},
		{"no such table", schema}, {"no such column", schema}, {"has no column named", schema},
		{"readonly", refuses}, {"not authorized", refuses}, {"unable to open", refuses}, {"disk", refuses},
		{"malformed", refuses}, {"not a database", refuses}, {"out of memory", away},
	} {
		if strings.Contains(text, c.says) {
			return c.trouble
		}
	}
	return none
}
