package outbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"
	"go.opentelemetry.io/otel/trace"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/telemetry"
	"github.com/asimalizada/pulse-events/outbox/wire"
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
	// ErrSchema: the tables are missing or older than this library; see Migrate.
	ErrSchema = sqldb.ErrSchema
	// ErrUnsupported: the database is not supported or not recognised; see WithDialect.
	ErrUnsupported = sqldb.ErrDialect
	// ErrNotFound: there is no message with that id.
	ErrNotFound = errors.New("no such message in the outbox")
)

// Outbox is the table outbox_messages of one database. It is safe for concurrent
// use.
type Outbox struct {
	store   *sqldb.Database
	db      *sqlx.DB // the store's handle
	dialect sqldb.Dialect

	// The options.
	saidDialect Dialect
	schema      string
	maxPayload  int
	log         *slog.Logger         // nil: slog.Default()
	tracing     trace.TracerProvider // nil: the global one
	createSpans int
	sealer      wire.Encoder   // nil: messages are stored as they are
	contracts   wire.Contracts // nil: payloads are not checked
	system      string

	spans telemetry.Spans
}

// contents is what an outbox keeps in its database.
var contents = sqldb.Contents{Files: sqlFiles, Root: "sql", VersionTable: "outbox_schema", Landmark: "outbox_messages"}

// Option changes a setting of New.
type Option func(*Outbox)

// WithDialect sets the SQL dialect of the database. By default it is derived from
// the name of the driver, which does not work for wrapped drivers.
func WithDialect(d Dialect) Option { return func(o *Outbox) { o.saidDialect = d } }

// WithSchema sets the schema of the tables in a PostgreSQL database. By default it
// is the schema in search_path that has them when the outbox first uses the
// database, in Migrate, CheckSchema, a relay or a query. That schema is remembered,
// so that a transaction with another search_path, such as a tenant's, enqueues into
// the same table. Set it if several schemas have such tables.
func WithSchema(name string) Option { return func(o *Outbox) { o.schema = name } }

// WithMaxPayload sets the largest payload in bytes that Enqueue accepts.
// Defaults to DefaultMaxPayload.
func WithMaxPayload(bytes int) Option { return func(o *Outbox) { o.maxPayload = bytes } }

// WithLogger sets the logger for changes that Enqueue makes to invalid ids of
// messages. Defaults to slog.Default().
func WithLogger(log *slog.Logger) Option { return func(o *Outbox) { o.log = log } }

// WithTracerProvider sets the provider of the tracer that Enqueue uses. Defaults to
// OpenTelemetry's global one.
func WithTracerProvider(p trace.TracerProvider) Option { return func(o *Outbox) { o.tracing = p } }

// New returns the outbox in db. It does not use the database yet. The error names
// the option or the driver that is not supported.
func New(db *sqlx.DB, opts ...Option) (*Outbox, error) {
	if db == nil {
		return nil, errors.New("outbox: db is nil")
	}
	o := &Outbox{maxPayload: DefaultMaxPayload, createSpans: DefaultCreateSpans, system: defaultSystem}
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
	if o.createSpans < NoCreateSpans {
		return nil, fmt.Errorf("outbox: WithCreateSpans: %d; must not be negative, or NoCreateSpans", o.createSpans)
	}
	o.store, o.db, o.dialect = store, store.Handle(), store.Dialect()
	o.spans = telemetry.NewSpans(o.tracing, telemetry.Outbox)
	return o, nil
}

// Migration is one numbered step of the schema.
type Migration struct {
	Version   int       // from 1, without gaps
	Name      string    // in words, separated by underscores
	SQL       string    // its statements, including the one that records it as applied
	AppliedAt time.Time // zero: not applied
}

func migrations(steps []sqldb.Migration, err error) ([]Migration, error) {
	var list []Migration
	for _, step := range steps {
		list = append(list, Migration(step))
	}
	return list, err
}

// Migrate updates the schema to the newest version and returns the steps it
// applied. If there are none, it needs only the right to read. Any number of
// processes may call it at the same time.
func (o *Outbox) Migrate(ctx context.Context) ([]Migration, error) {
	applied, err := migrations(o.store.Migrate(ctx))
	if err != nil {
		return nil, err
	}
	return applied, o.checkMD5(ctx)
}

// Migrations returns all steps with the times at which they were applied.
func (o *Outbox) Migrations(ctx context.Context) ([]Migration, error) {
	return migrations(o.store.Migrations(ctx))
}

// CheckSchema returns ErrSchema if the schema is missing or out of date, or needs
// MD5 on a server that has none.
func (o *Outbox) CheckSchema(ctx context.Context) error {
	if err := o.store.CheckSchema(ctx); err != nil {
		return err
	}
	return o.checkMD5(ctx)
}

// Schema returns the migrations of a dialect, for use with another migration tool.
// Applied in order they have the same result as Migrate, including the record of
// what was applied.
func Schema(d Dialect) ([]Migration, error) {
	dialect := sqldb.Dialect(d)
	if err := dialect.Check(); err != nil {
		return nil, err
	}
	return migrations(contents.Steps(dialect), nil)
}
