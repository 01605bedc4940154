// Package database opens a PostgreSQL or SQLite database by URL, for programs
// that support both.
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

// Config selects a database and its options.
type Config struct {
	// URL is a postgres:// or sqlite: URL. Required.
	URL string
	// GetURL, if set, is called for the URL of PostgreSQL at each connect.
	GetURL func(context.Context) (string, error)
	// Name is the application name that PostgreSQL shows.
	Name string
	// MaxConns is the size of PostgreSQL's pool. Defaults to 16.
	MaxConns int
}

// Open opens a postgres:// or sqlite: URL and returns its dialect. name is the
// application name that PostgreSQL shows. It accesses neither network nor file.
func Open(url, name string) (*sqlx.DB, sqldb.Dialect, error) {
	return Config{URL: url, Name: name}.Open()
}

// Open opens the database like the function Open, with all options of c. The
// error begins with URL if that is at fault, and contains no password.
func (c Config) Open() (*sqlx.DB, sqldb.Dialect, error) {
	if err := validate(c.URL); err != nil {
		return nil, "", err
	}
	if sqlite.IsURL(c.URL) {
		db, err := sqlite.Open(c.URL)
		return db, sqldb.SQLite, err
	}
	db, err := postgres.Open(postgres.Config{URL: c.URL, GetURL: c.GetURL, Name: c.Name, MaxConns: c.MaxConns})
	return db, sqldb.PostgreSQL, err
}

// validate returns every problem of url at once, beginning with URL, or nil. No
// text contains a password.
func validate(url string) error {
	switch {
	case sqlite.IsURL(url):
		return sqlite.Validate(url)
	case url == "":
		return errors.New("URL: is empty; " + hint)
	case !strings.HasPrefix(url, "postgres"):
		return errors.New("URL: unsupported database; " + hint)
	}
	return postgres.Config{URL: url}.Validate()
}

const hint = "expected postgres://user:password@host:5432/database or sqlite:/path/to/file.db"
