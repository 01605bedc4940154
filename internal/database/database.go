// Package database opens what a URL names, PostgreSQL or SQLite, for programs
// that run on either.
package database

import (
	"context"
	"errors"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// Config says which database to open, and how.
type Config struct {
	// URL: postgres:// or sqlite:. Required.
	URL string
	// GetURL, if set, is asked for the URL of PostgreSQL at each connect.
	GetURL func(context.Context) (string, error)
	// Name is what PostgreSQL shows as the application.
	Name string
}

// Open opens a postgres:// or sqlite: URL and tells its dialect. name is what
// PostgreSQL shows as the application. Neither network nor file is touched.
func Open(url, name string) (*sqlx.DB, sqldb.Dialect, error) {
	return Config{URL: url, Name: name}.Open()
}

// Open is the function of that name, for all there is to say.
func (c Config) Open() (*sqlx.DB, sqldb.Dialect, error) {
	if sqlite.IsURL(c.URL) {
		db, err := sqlite.Open(c.URL)
		return db, sqldb.SQLite, err
	}
	db, err := postgres.Open(postgres.Config{URL: c.URL, GetURL: c.GetURL, Name: c.Name})
	return db, sqldb.PostgreSQL, err
}

// Unreachable reports whether err says that the database did not answer, or
// not as it will again by itself: no working connection to PostgreSQL, or one to
// a standby, or a SQLite file that others have kept locked for as long as a
// transaction waits. A context whose time was up says the same. Where somebody
// has to act, as on wrong credentials, it is false.
func Unreachable(err error) bool {
	switch sqldb.Judge(err) {
	case sqldb.Transient, sqldb.Timeout, sqldb.Lost:
		return true
	case sqldb.Outage, sqldb.ReadOnly:
		return sqldb.SQLiteError(err) == nil // a file does not mend itself
	}
	return false
}

// Validate returns every problem of url at once, beginning with URL, or nil.
// No text holds a password.
func Validate(url string) error {
	switch {
	case sqlite.IsURL(url):
		return sqlite.Validate(url)
	case url == "":
		return errors.New("URL: is empty; " + hint)
	case !strings.HasPrefix(url, "postgres"):
		return errors.New("URL: names no database we know; " + hint)
	}
	return postgres.Config{URL: url}.Validate()
}

const hint = "expected postgres://user:password@host:5432/database or sqlite:/path/to/file.db"
