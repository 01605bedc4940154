package sqlstore

import (
	"context"
	"errors"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

const (
	scheme  = "sqlite:"
	urlHint = "expected postgres://user:password@host:5432/database or sqlite:/path/to/file.db"
)

// IsSQLite reports whether url names a SQLite file.
func IsSQLite(url string) bool { return strings.HasPrefix(url, scheme) }

// SQLiteURL is the URL of a SQLite file.
func SQLiteURL(path string) string { return scheme + path }

// Open opens the database that url names, and says which kind it is. getURL, if
// not nil, is asked for the URL of PostgreSQL at each connect. name is that of
// the application. It touches neither network nor file. The error holds no
// password.
func Open(url string, getURL func(context.Context) (string, error), name string) (*sqlx.DB, outbox.Dialect, error) {
	if path, ok := strings.CutPrefix(url, scheme); ok {
		db, err := sqlite.Open(path)
		return db, outbox.SQLite, err
	}
	if !strings.HasPrefix(url, "postgres") {
		return nil, "", errors.New("URL: unsupported database; " + urlHint)
	}
	db, err := postgres.Open(postgres.Config{URL: url, GetURL: getURL, Name: name})
	return db, outbox.PostgreSQL, err
}

// Check returns what is wrong with a URL, or nil.
func Check(url string) error {
	if url == "" {
		return errors.New("is empty; " + urlHint)
	}
	db, _, err := Open(url, nil, "")
	if err != nil {
		_, text, _ := strings.Cut(err.Error(), "URL: ")
		return errors.New(text)
	}
	return db.Close()
}
