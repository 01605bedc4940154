package sqldb

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"
)

// Contents describes what a package keeps in a database.
type Contents struct {
	Files        embed.FS // with root/dialect/*.sql and root/dialect/migrations
	Root         string
	VersionTable string // with the history of the schema
	Landmark     string // a table by which the schema is found
}

// Database is a database that a service has provided, with the tables of a
// package. It is safe for concurrent use.
type Database struct {
	own      *sqlx.DB
	dialect  Dialect
	settings string // the statement that applies them, empty on SQLite
	tables   []string
	finder   *finder
	migrator *Migrator
}

// Open returns a Database for a service's handle; it does not access the
// database. An empty dialect is derived from the driver. With a schema, the
// tables are there; otherwise they are found by the connections' search_path at
// first use.
func (c Contents) Open(lent *sqlx.DB, d Dialect, schema string) (*Database, error) {
	if d == "" {
		guessed, err := Detect(lent.DriverName())
		if err != nil {
			return nil, fmt.Errorf("%w; set it with WithDialect", err)
		}
		d = guessed
	}
	if err := d.Check(); err != nil {
		return nil, err
	}
	if schema != "" {
		if d != PostgreSQL {
			return nil, fmt.Errorf("WithSchema: %s has no schemas", d)
		}
		if problem := schemaProblem(schema); problem != "" {
			return nil, fmt.Errorf("WithSchema: %q: %s", schema, problem)
		}
	}
	own := Own(lent)
	f := &finder{dialect: d, own: own, fixed: schema, landmark: c.Landmark, queries: LoadQueries(c.Files, c.Root, d)}
	db := &Database{own: own, dialect: d, settings: DefaultSettings.statement(d), finder: f, migrator: c.migrator(d)}
	db.migrator.locate = f.migrated
	return db, nil
}

// Steps returns the migrations of a dialect without a database; see
// Migrator.Steps.
func (c Contents) Steps(d Dialect) []Migration { return c.migrator(d).Steps() }

func (c Contents) migrator(d Dialect) *Migrator {
	return NewMigrator(c.Files, c.Root, d, c.VersionTable)
}

// Own returns a separate handle on the pool of db, so that settings of the
// service's handle, such as a Mapper, do not affect the statements.
func Own(db *sqlx.DB) *sqlx.DB {
	own := sqlx.NewDb(db.DB, db.DriverName())
	own.Mapper = reflectx.NewMapperFunc("db", strings.ToLower)
	return own
}

// With returns the same database for transactions with other settings.
func (db *Database) With(s Settings) *Database {
	other := *db
	other.settings, other.tables = s.statement(db.dialect), s.Tables
	return &other
}

// Handle returns the separate handle.
func (db *Database) Handle() *sqlx.DB { return db.own }

// Dialect returns the SQL dialect of the database.
func (db *Database) Dialect() Dialect { return db.dialect }

// Migrate migrates the schema to its newest version; see Migrator.Up.
func (db *Database) Migrate(ctx context.Context) ([]Migration, error) {
	defer db.finder.forget()
	return db.migrator.Up(ctx, db.own)
}

// Migrations returns every step of the schema with the time it was applied.
func (db *Database) Migrations(ctx context.Context) ([]Migration, error) {
	return db.migrator.Status(ctx, db.own)
}

// CheckSchema returns an ErrSchema if the schema is missing or behind.
func (db *Database) CheckSchema(ctx context.Context) error {
	return db.migrator.Check(ctx, db.own)
}

// Read runs do in a transaction that does not write. Each statement sees what
// is committed when it begins.
func (db *Database) Read(ctx context.Context, do func(context.Context, *Tx) error) error {
	return db.transact(ctx, db.dialect.ReadOnly(), do)
}

// Write runs do in a transaction that is committed if do returns nil. It sees
// what others have committed while it waited for them.
func (db *Database) Write(ctx context.Context, do func(context.Context, *Tx) error) error {
	return db.transact(ctx, db.dialect.ReadCommitted(), do)
}

func (db *Database) transact(ctx context.Context, opts *sql.TxOptions, do func(context.Context, *Tx) error) (err error) {
	defer func() {
		if errors.Is(Schema(err), ErrSchema) {
			db.finder.forget()
		}
	}()
	return Transact(ctx, db.own, opts, func(ctx context.Context, tx *sqlx.Tx) error {
		settings := db.settings
		if l := db.finder.known(); l != nil && l.schema != "" {
			settings += lockTables(db.tables, l.schema)
		}
		if err := apply(ctx, tx, settings); err != nil {
			return err
		}
		at, err := db.finder.inOwn(ctx, tx)
		if err != nil {
			return err
		}
		return do(ctx, &Tx{tx, at, db.dialect})
	})
}

// Query returns the text of a query for execution in the caller's transaction
// tx, which may have another search_path and role. Call Failed with the error
// of the query.
func (db *Database) Query(ctx context.Context, tx any, name string) (string, error) {
	at, err := db.finder.inTheirs(ctx, tx)
	if err != nil {
		return "", explainPooler(err)
	}
	return at.Get(name), nil
}

// Failed adds the meaning of a query's error (see Explain) and, if the tables
// did not exist, looks for them again the next time.
func (db *Database) Failed(err error) error {
	err = Explain(err)
	if errors.Is(err, ErrSchema) {
		db.finder.forget()
	}
	return err
}

// Tx is a transaction of this package. Its methods run queries by the names of
// their files.
type Tx struct {
	tx      *sqlx.Tx
	at      *location
	dialect Dialect
}

// Exec executes a query.
func (t *Tx) Exec(ctx context.Context, name string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, t.at.Get(name), args...)
}

// Get reads the one row of a query into dest, a scalar or a struct.
func (t *Tx) Get(ctx context.Context, dest any, name string, args ...any) error {
	return t.tx.GetContext(ctx, dest, t.at.Get(name), args...)
}

// Select reads all rows of a query into dest, a slice.
func (t *Tx) Select(ctx context.Context, dest any, name string, args ...any) error {
	return t.tx.SelectContext(ctx, dest, t.at.Get(name), args...)
}

// Query returns the rows of a query, which the caller closes.
func (t *Tx) Query(ctx context.Context, name string, args ...any) (*sqlx.Rows, error) {
	return t.tx.QueryxContext(ctx, t.at.Get(name), args...)
}

// Adapt completes the text of a query before it is executed. other returns the
// texts of other files.
type Adapt func(other func(name string) string, text string) string

// GetAdapted is Get for a query completed by adapt.
func (t *Tx) GetAdapted(ctx context.Context, dest any, name string, adapt Adapt, args ...any) error {
	return t.tx.GetContext(ctx, dest, t.adapted(name, adapt), args...)
}

func (t *Tx) adapted(name string, adapt Adapt) string {
	return adapt(t.at.Get, t.at.Get(name))
}

// SelectAdapted is Select for a query completed by adapt.
func (t *Tx) SelectAdapted(ctx context.Context, dest any, name string, adapt Adapt, args ...any) error {
	return t.tx.SelectContext(ctx, dest, t.adapted(name, adapt), args...)
}
