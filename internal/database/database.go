// Package database opens what a URL names, PostgreSQL or SQLite, for programs
// that run on either.
package database

import (
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/postgres"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
)

// Open opens a postgres:// or sqlite: URL and tells its dialect. name is what
// PostgreSQL shows as the application. Neither network nor file is touched.
func Open(url, name string) (*sqlx.DB, sqldb.Dialect, error) {
	if sqlite.IsURL(url) {
		db, err := sqlite.Open(url)
		return db, sqldb.SQLite, err
	}
	db, err := postgres.Open(postgres.Config{URL: url, Name: name})
	return db, sqldb.PostgreSQL, err
}

// Validate returns every problem of url at once, beginning with URL, or nil.
// No text holds a password.
func Validate(url string) error {
	if sqlite.IsURL(url) {
		return sqlite.Validate(url)
	}
	return postgres.Config{URL: url}.Validate()
}
