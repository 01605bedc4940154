package outbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

//go:embed sql
var sqlFiles embed.FS

// Dialect is the SQL of a kind of database.
type Dialect string

// The supported dialects.
const (
	PostgreSQL Dialect = "postgres" // 13 and later
	SQLite     Dialect = "sqlite"   // 3.43 and later, opened as package outbox/sqlite does
)

// Sentinel errors. Other errors come from the database.
var (
	// ErrSchema: the tables are missing or older than this library. Migrate.
	ErrSchema = sqldb.ErrSchema
	// ErrUnsupported: unsupported database, or one that is not recognised; see WithDialect.
	ErrUnsupported = sqldb.ErrDialect
	// ErrNotFound: no row has that id.
	ErrNotFound = errors.New("no such message in the outbox")
)

// Outbox is the table outbox_messages of one database. It is safe for
// concurrent use and holds no state but its settings.
type Outbox struct {
	store   *sqldb.Database
	db      *sqlx.DB // the store's handle
	dialect sqldb.Dialect

	// The options.
	saidDialect Dialect
	schema      string
	maxPayload  int
	log         *slog.Logger // nil: slog.Default()
}

// contents is what an outbox keeps in its database.
var contents = sqldb.Contents{Files: sqlFiles, Root: "sql", VersionTable: "outbox_schema", Landmark: "outbox_messages"}

// Option changes a setting of New.
type Option func(*Outbox)

// WithDialect says which SQL the database speaks. Without it the dialect is
// guessed from the driver's name, which wrapped drivers defeat.
func WithDialect(d Dialect) Option { return func(o *Outbox) { o.saidDialect = d } }

// WithSchema says in which schema of a PostgreSQL database the tables are.
// Without it they are where search_path leads when the outbox first needs
// them, by Migrate, CheckSchema, a relay or a query; that is remembered, so that
// a transaction with another search_path, a tenant's, enqueues into the same
// table. Say it where tables of the name are in several schemas.
func WithSchema(name string) Option { return func(o *Outbox) { o.schema = name } }

// WithMaxPayload sets the largest payload in bytes that Enqueue accepts.
// Defaults to DefaultMaxPayload.
func WithMaxPayload(bytes int) Option { return func(o *Outbox) { o.maxPayload = bytes } }

// WithLogger sets who hears of what Enqueue had to change in a message. Defaults
// to slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *Outbox) { o.log = log } }

// New returns the outbox in db. It does not touch the database. An error
// names the option or the driver that is not supported.
func New(db *sqlx.DB, opts ...Option) (*Outbox, error) {
	if db == nil {
		return nil, errors.New("outbox: db is nil")
	}
	o := &Outbox{maxPayload: DefaultMaxPayload}
	for _, opt := range opts {
		opt(o)
	}
	store, err := contents.Open(db, sqldb.Dialect(o.saidDialect), o.schema)
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	if o.maxPayload <= 0 {
		return nil, fmt.Errorf("outbox: WithMaxPayload: %d bytes; must be positive", o.maxPayload)
	}
	o.store, o.db, o.dialect = store, store.Handle(), store.Dialect()
	return o, nil
}

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
func (o *Outbox) Migrate(ctx context.Context) ([]Migration, error) {
	applied, err := migrations(o.store.Migrate(ctx))
	if err != nil {
		return nil, err
	}
	return applied, o.checkMD5(ctx)
}

// Migrations returns every step with the time it was applied.
func (o *Outbox) Migrations(ctx context.Context) ([]Migration, error) {
	return migrations(o.store.Migrations(ctx))
}

// CheckSchema returns an ErrSchema when the schema is missing or behind, or needs
// MD5 on a server that has none.
func (o *Outbox) CheckSchema(ctx context.Context) error {
	if err := o.store.CheckSchema(ctx); err != nil {
		return err
	}
	return o.checkMD5(ctx)
}

// Schema returns the steps of a dialect's schema without a database, for
// those who keep migrations in a tool of their own. Run in their order, they
// leave what Migrate leaves, its history included.
func Schema(d Dialect) ([]Migration, error) {
	dialect := sqldb.Dialect(d)
	if err := dialect.Check(); err != nil {
		return nil, err
	}
	return migrations(contents.Steps(dialect), nil)
}
