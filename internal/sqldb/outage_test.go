package sqldb

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jmoiron/sqlx"
)

type stateError string

func (e stateError) Error() string    { return "SQLSTATE " + string(e) }
func (e stateError) SQLState() string { return string(e) }

func TestOutageAndDataErrorReadTheState(t *testing.T) {
	for _, c := range []struct {
		err          error
		outage, data bool
	}{
		{nil, false, false},
		{errors.New("order is unknown"), false, false},
		{fmt.Errorf("query: %w", driver.ErrBadConn), true, false},
		{stateError("08006"), true, false},
		{fmt.Errorf("query: %w", stateError("57P01")), true, false},
		{stateError("57014"), false, false}, // a statement's own time was up
		{stateError("53200"), false, false}, // one message may ask for too much memory
		{stateError("22P02"), false, true},
		{stateError("23505"), false, true},
		{stateError("40P01"), false, false},
	} {
		if got := Outage(c.err); got != c.outage {
			t.Errorf("Outage(%v) = %v", c.err, got)
		}
		if got := DataError(c.err); got != c.data {
			t.Errorf("DataError(%v) = %v", c.err, got)
		}
	}
}

// The errors of a SQLite driver are told from texts that only sound like them.
func TestOutageAndDataErrorReadErrorsOfSQLite(t *testing.T) {
	db, err := sqlx.Open("sqlite3", filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // PRAGMA is the connection's
	db.MustExec(`CREATE TABLE notes (id integer PRIMARY KEY, text blob NOT NULL CHECK (text <> ''))`)
	missing, err := sqlx.Open("sqlite3", filepath.Join(t.TempDir(), "nowhere", "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer missing.Close()
	exec := func(query string) error { _, err := db.Exec(query); return err }
	for _, c := range []struct {
		name         string
		err          error
		outage, data bool
	}{
		{"NOT NULL", exec(`INSERT INTO notes (text) VALUES (NULL)`), false, true},
		{"CHECK", exec(`INSERT INTO notes (text) VALUES ('')`), false, true},
		{"mismatch", exec(`INSERT INTO notes (id, text) VALUES ('one', 'x')`), false, true},
		{"syntax", exec(`INSERT`), false, false},
		{"no folder", missing.Ping(), true, false},
		{"full", exec(`PRAGMA max_page_count = 1; INSERT INTO notes (text) VALUES (zeroblob(100000))`), true, false},
		{"read only", exec(`PRAGMA query_only = on; INSERT INTO notes (text) VALUES ('x')`), true, false},
	} {
		if c.err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		lookalike := errors.New(c.err.Error())
		if Outage(lookalike) || DataError(lookalike) {
			t.Errorf("%s: %v is taken for the driver's", c.name, lookalike)
		}
		for _, err := range []error{c.err, fmt.Errorf("query: %w", c.err), errors.Join(errors.New("other"), c.err)} {
			if Outage(err) != c.outage || DataError(err) != c.data {
				t.Errorf("%s: %v: outage %v, data %v; want %v, %v", c.name, err, Outage(err), DataError(err), c.outage, c.data)
			}
		}
	}
}
