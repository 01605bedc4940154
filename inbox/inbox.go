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

	"github.com/asimalizada/pulse-events/inbox/internal/guard"
	"github.com/asimalizada/pulse-events/internal/sqldb"
)

//go:embed sql
var sqlFiles embed.FS

// Sentinel errors. Other errors come from the database.
var (
	// ErrSchema: the tables are missing or older than this library. Migrate.
	ErrSchema = sqldb.ErrSchema
	// ErrUnsupported: unsupported database, or one that is not recognised; see WithDialect.
	ErrUnsupported = sqldb.ErrDialect
	// ErrNoTransaction: the handle given to Claim commits each statement by
	// itself, so that claim and effect could part.
	ErrNoTransaction = sqldb.ErrNoTransaction
	// ErrConflict is matched by every ConflictError.
	ErrConflict = errors.New("same event id with another payload, type or topic")
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
	store    *sqldb.Database
	lent     *sqlx.DB // as given to New: handlers get its Mapper
	db       *sqlx.DB // the store's handle
	consumer string
	dialect  sqldb.Dialect
	snapshot *guard.Snapshot // of a session that handlers have used

	// The options.
	saidDialect      Dialect
	schema           string
	statementTimeout time.Duration
}

// contents is what an inbox keeps in its database.
var contents = sqldb.Contents{Files: sqlFiles, Root: "sql", VersionTable: "inbox_schema", Landmark: "processed_events"}

// Option changes a setting of New.
type Option func(*Inbox)

// WithDialect sets the dialect of the database. Without it the dialect is
// guessed from the driver's name, which wrapped drivers defeat.
func WithDialect(d Dialect) Option { return func(in *Inbox) { in.saidDialect = d } }

// WithSchema sets the schema of a PostgreSQL database that has the tables.
// Without it they are where search_path leads when the inbox first needs them;
// that is remembered, so that a transaction with another search_path, a
// tenant's, claims in the same table. Set it where several schemas have tables of the same names.
func WithSchema(name string) Option { return func(in *Inbox) { in.schema = name } }

// WithStatementTimeout bounds each wait for the database in begin, claim and
// commit, and so also for a copy that is being applied elsewhere. Handlers
// have ConsumerConfig.HandlerTimeout, or the context given to Once. Defaults
// to DefaultStatementTimeout.
func WithStatementTimeout(d time.Duration) Option {
	return func(in *Inbox) { in.statementTimeout = d }
}

// DefaultStatementTimeout is used unless WithStatementTimeout sets another.
const DefaultStatementTimeout = 30 * time.Second

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
	in := &Inbox{lent: db, consumer: consumer, statementTimeout: DefaultStatementTimeout}
	for _, opt := range opts {
		opt(in)
	}
	if in.statementTimeout <= 0 {
		return nil, fmt.Errorf("inbox: WithStatementTimeout: %v; must be positive", in.statementTimeout)
	}
	store, err := contents.Open(db, sqldb.Dialect(in.saidDialect), in.schema)
	if err != nil {
		return nil, fmt.Errorf("inbox: %w", err)
	}
	in.store, in.db, in.dialect = store, store.Handle(), store.Dialect()
	in.snapshot = &guard.Snapshot{}
	if in.dialect == sqldb.PostgreSQL {
		in.snapshot = &guard.Snapshot{Query: sessionQueries.Get("session"), Settings: sessionQueries.Get("settings")}
	}
	return in, nil
}

// Consumer returns the name given to New.
func (in *Inbox) Consumer() string { return in.consumer }

// Migration is one numbered step of the schema.
type Migration struct {
	Version   int       // from 1, without gaps
	Name      string    // in words, separated by underscores
	SQL       string    // its statements, and the one that enters it into the history
	AppliedAt time.Time // zero: not applied
}

func migrations(steps []sqldb.Migration, err error) ([]Migration, error) {
	var list []Migration
	for _, step := range steps {
		list = append(list, Migration(step))
	}
	return list, err
}

// Migrate brings the schema to its newest version and returns the steps it
// applied: none when there was nothing to do, which takes no right but to read.
// Any number of processes may call it at once.
func (in *Inbox) Migrate(ctx context.Context) ([]Migration, error) {
	return migrations(in.store.Migrate(ctx))
}

// Migrations returns every step with the time it was applied.
func (in *Inbox) Migrations(ctx context.Context) ([]Migration, error) {
	return migrations(in.store.Migrations(ctx))
}

// CheckSchema returns an ErrSchema when the schema is missing or behind.
func (in *Inbox) CheckSchema(ctx context.Context) error { return in.store.CheckSchema(ctx) }

// Schema returns the steps of a dialect's schema without a database, for
// those who keep migrations in a tool of their own.
func Schema(d Dialect) ([]Migration, error) {
	dialect := sqldb.Dialect(d)
	if err := dialect.Check(); err != nil {
		return nil, err
	}
	return migrations(contents.Steps(dialect), nil)
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
