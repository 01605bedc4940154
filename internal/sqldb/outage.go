package sqldb

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
)

// Outage reports whether err says that the database as a whole does not serve:
// the server shuts down or starts, takes no connection, or went away in the
// middle; there is no disk left; a SQLite file cannot be read or written. A
// false answer proves nothing about connections that broke without a word.
func Outage(err error) bool {
	switch state := SQLState(err); state {
	case "53100", "53300", "57P01", "57P02", "57P03", "57P04", "58030":
		return true
	case "":
		return errors.Is(err, driver.ErrBadConn) || mentions(SQLiteError(err),
			"database or disk is full", "disk I/O error", "unable to open database file", "readonly database",
			"database disk image is malformed", "file is not a database")
	default:
		return strings.HasPrefix(state, "08")
	}
}

// DataError reports whether err blames the values of a statement (SQLSTATE
// classes 22 and 23, broken constraints of SQLite), so that the same values
// will fail again.
func DataError(err error) bool {
	if state := SQLState(err); state != "" {
		return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23")
	}
	return mentions(SQLiteError(err), "constraint failed", "datatype mismatch", "string or blob too big")
}

// SQLiteError returns the error inside err that a SQLite driver raised, or nil.
// Drivers share no method to know them by, but their packages' name: a handler's
// own error that speaks of a full disk is none.
func SQLiteError(err error) error {
	if err == nil {
		return nil
	}
	if strings.HasPrefix(strings.TrimLeft(fmt.Sprintf("%T", err), "*"), "sqlite") {
		return err
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return SQLiteError(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if found := SQLiteError(inner); found != nil {
				return found
			}
		}
	}
	return nil
}
