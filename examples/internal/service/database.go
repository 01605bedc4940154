package service

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/internal/sqlstore"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
)

// Database is a service's own: one pool, and the schemas that have to be there.
type Database struct {
	*sqlx.DB
	Dialect outbox.Dialect
	timeout time.Duration // of what one request does
	schemas []schema
	owned   []*sqlstore.Migrations
	tables  []string // the service's own
}

// Step is a migration that was applied.
type Step struct {
	Version   int
	Name, SQL string
	AppliedAt time.Time
}

// Steps makes Migrate of an outbox or an inbox fit for Require.
func Steps[M outbox.Migration | inbox.Migration](migrate func(context.Context) ([]M, error)) func(context.Context) ([]Step, error) {
	return func(ctx context.Context) (steps []Step, err error) {
		applied, err := migrate(ctx)
		for _, m := range applied {
			steps = append(steps, Step(m))
		}
		return steps, err
	}
}

// schema is one of the schemas that share a database.
type schema struct {
	migrate func(context.Context) ([]Step, error)
	check   func(context.Context) error
}

// OpenDatabase opens the database of s; name is that of the service. It touches
// neither network nor file.
func OpenDatabase(s Settings, name string) (*Database, error) {
	db, dialect, err := sqlstore.Open(s.DatabaseURL, s.GetDatabaseURL, name)
	if err != nil {
		return nil, err
	}
	return &Database{DB: db, Dialect: dialect, timeout: s.DatabaseTimeout}, nil
}

// Close closes the pool. It is no error that a connection was lost before: the
// server may have ended one that was idle, and nothing depends on it any more.
func (d *Database) Close() error {
	if err := d.DB.Close(); !outbox.IsDatabaseUnavailable(err) {
		return err
	}
	return nil
}

// Limit bounds what one request does in the database. It begins when the
// request has been read.
func (d *Database) Limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.timeout)
}

// Require adds a schema, such as that of the outbox, to those that Run brings.
func (d *Database) Require(migrate func(context.Context) ([]Step, error), check func(context.Context) error) {
	d.schemas = append(d.schemas, schema{migrate, check})
}

// Own is Require for a schema of the service itself, whose tables it writes.
func (d *Database) Own(m *sqlstore.Migrations, tables ...string) {
	d.Require(
		Steps(func(ctx context.Context) ([]outbox.Migration, error) { return m.Up(ctx, d.DB) }),
		func(ctx context.Context) error { return m.Check(ctx, d.DB) },
	)
	d.owned = append(d.owned, m)
	d.tables = append(d.tables, tables...)
}

// CheckReady returns nil while the service's own tables are there and can be
// written.
func (d *Database) CheckReady(ctx context.Context) error {
	for _, m := range d.owned {
		if err := m.Check(ctx, d.DB); err != nil {
			return err
		}
	}
	if d.Dialect == outbox.SQLite {
		return nil // rights are those on the file, which the outbox or the inbox tries
	}
	tx, err := d.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, table := range d.tables {
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO %[1]s SELECT * FROM %[1]s WHERE false`, table)); err != nil {
			return err
		}
	}
	return nil
}

// Time between two attempts to reach a database that does not answer, and the
// limit of one attempt, in which a migration may rebuild a big table.
const (
	retryPause   = 500 * time.Millisecond
	attemptLimit = 10 * time.Minute
)

// prepare migrates every schema, or checks them. While the database does not
// answer it tries again for as long as patience; any other error, such as
// wrong credentials, is returned at once.
func (d *Database) prepare(ctx context.Context, migrate bool, patience time.Duration, log *slog.Logger) error {
	deadline := time.Now().Add(patience)
	for {
		err := d.prepareOnce(ctx, migrate, log)
		if err == nil || ctx.Err() != nil || !outbox.IsDatabaseUnanswered(err) {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("the database has not answered for %v: %w", patience, err)
		}
		log.WarnContext(ctx, "waiting for the database", "error", err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(retryPause):
		}
	}
}

func (d *Database) prepareOnce(ctx context.Context, migrate bool, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	if !migrate {
		return d.check(ctx)
	}
	for _, s := range d.schemas {
		applied, err := s.migrate(ctx)
		if err != nil {
			return err
		}
		for _, m := range applied {
			log.InfoContext(ctx, "schema migrated", "version", m.Version, "name", m.Name)
		}
	}
	return nil
}

// check returns the database's error or the first schema that is missing or
// behind.
func (d *Database) check(ctx context.Context) error {
	for _, s := range d.schemas {
		if err := s.check(ctx); err != nil {
			return err
		}
	}
	return nil
}
