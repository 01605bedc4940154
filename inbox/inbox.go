package inbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

//go:embed sql
var sqlFiles embed.FS

// Errors that state what is the case; everything else is the database's own.
var (
	// ErrSchema: the tables are missing or older than this library. Migrate.
	ErrSchema = sqldb.ErrSchema
	// ErrUnsupported: the database is none we know; see WithDialect.
	ErrUnsupported = sqldb.ErrDialect
	// ErrNoTransaction: the handle given to Claim commits each statement by
	// itself, so that claim and effect could part.
	ErrNoTransaction = sqldb.ErrNoTransaction
	// ErrConflict is matched by every ConflictError.
	ErrConflict = errors.New("same event id with another payload")
	// ErrInvalidMessage is matched by every InvalidMessageError.
	ErrInvalidMessage = errors.New("invalid message")
	// ErrNotFound: no event of that id has been applied, or retention has
	// removed it.
	ErrNotFound = errors.New("no such event in the inbox")
)

// Inbox is what one consumer has applied: its rows of the table
// processed_events. It is safe for concurrent use and holds no state but its
// settings.
type Inbox struct {
	db       *sqlx.DB
	consumer string
	dialect  Dialect
	queries  sqldb.Queries
	migrator *sqldb.Migrator

	statementTimeout time.Duration
}

// Option changes a setting of New.
type Option func(*Inbox)

// WithDialect says which SQL the database speaks. Without it the dialect is
// guessed from the driver's name, which wrapped drivers defeat.
func WithDialect(d Dialect) Option { return func(in *Inbox) { in.dialect = d } }

// WithStatementTimeout bounds each wait for the database in begin, claim and
// commit, and so also for a copy that is being applied elsewhere. Handlers
// have ConsumerConfig.HandlerTimeout, or the context given to Once. Defaults
// to DefaultStatementTimeout.
func WithStatementTimeout(d time.Duration) Option {
	return func(in *Inbox) { in.statementTimeout = d }
}

// DefaultStatementTimeout is used unless WithStatementTimeout says otherwise.
const DefaultStatementTimeout = 30 * time.Second

// versionTable keeps the history of the schema.
const versionTable = "inbox_schema"

// New returns the inbox of a consumer in db. The name, such as
// "notifications", is part of every key: give each consumer that shares the
// database a name of its own, and the same name to all instances of one
// consumer. 1 to 255 bytes. New does not touch the database.
func New(db *sqlx.DB, consumer string, opts ...Option) (*Inbox, error) {
	if db == nil {
		return nil, errors.New("inbox: db is nil")
	}
	if problem := keyProblem("consumer", consumer); problem != "" {
		return nil, errors.New("inbox: " + problem)
	}
	in := &Inbox{db: db, consumer: consumer, statementTimeout: DefaultStatementTimeout}
	for _, opt := range opts {
		opt(in)
	}
	if in.dialect == "" {
		d, err := sqldb.Detect(db.DriverName())
		if err != nil {
			return nil, fmt.Errorf("inbox: %w; say it with WithDialect", err)
		}
		in.dialect = d
	}
	if err := in.dialect.Check(); err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	if in.statementTimeout <= 0 {
		return nil, fmt.Errorf("inbox: WithStatementTimeout: %v; must be positive", in.statementTimeout)
	}
	in.queries = sqldb.LoadQueries(sqlFiles, "sql", in.dialect)
	in.migrator = sqldb.NewMigrator(sqlFiles, "sql", in.dialect, versionTable)
	return in, nil
}

// Consumer returns the name given to New.
func (in *Inbox) Consumer() string { return in.consumer }

// Migration is one numbered step of the schema.
type Migration = sqldb.Migration

// Migrate brings the schema to its newest version and returns the steps it
// applied: none when there was nothing to do. Any number of processes may
// call it at once.
func (in *Inbox) Migrate(ctx context.Context) ([]Migration, error) {
	return in.migrator.Up(ctx, in.db)
}

// Migrations returns every step with the time it was applied.
func (in *Inbox) Migrations(ctx context.Context) ([]Migration, error) {
	return in.migrator.Status(ctx, in.db)
}

// CheckSchema returns an ErrSchema when the schema is missing or behind.
func (in *Inbox) CheckSchema(ctx context.Context) error { return in.migrator.Check(ctx, in.db) }

// Schema returns the steps of a dialect's schema without a database, for
// those who keep migrations in a tool of their own.
func Schema(d Dialect) ([]Migration, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	return sqldb.NewMigrator(sqlFiles, "sql", d, versionTable).Steps(), nil
}

// maxKey bounds consumer and event id: what AMQP holds in a short string.
const maxKey = 255

// keyProblem says what makes value unfit as a part of the primary key, or "".
// Text that is no UTF-8 is refused, not repaired: two ids could become one.
func keyProblem(field, value string) string {
	switch {
	case value == "":
		return field + ": is empty"
	case len(value) > maxKey:
		return fmt.Sprintf("%s: %d bytes, at most %d are allowed", field, len(value), maxKey)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		return field + ": must be UTF-8 text without NUL"
	}
	return ""
}
