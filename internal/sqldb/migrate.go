package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"fmt"
	"hash/fnv"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
)

// Migration is one numbered step of a schema.
type Migration struct {
	Version   int       // from 1, without gaps
	Name      string    // the file's name without number and ending
	SQL       string    // the SQL of the step, including its entry in the history
	AppliedAt time.Time // zero: not applied
}

// Migrator migrates one schema to its newest version. It keeps its history in
// its own version table, so that several schemas can share a database.
type Migrator struct {
	table   string
	dialect Dialect
	steps   []Migration
	leaves  []leaf // by step
	// locate returns the schema to work in; nil or "": found by search_path.
	locate func(ctx context.Context, tx *sqlx.Tx) (schema string, err error)
}

// leaf is a column whose existence shows that a step was applied. It shows the version
// if the history is lost, as in a schema that was copied without its rows, or may not
// be read, as by a role whose rights were revoked.
type leaf struct{ table, column string }

// leavesMark begins the first line of each step, which names a column that it creates,
// such as "-- Leaves: outbox_messages.seq".
const leavesMark = "-- Leaves: "

// NewMigrator reads the steps root/dialect/migrations/NNNN_name.sql. The files
// are embedded, so a gap, a bad name or a missing mark is a bug in the build: it
// panics.
func NewMigrator(files embed.FS, root string, d Dialect, versionTable string) *Migrator {
	dir := path.Join(root, string(d), "migrations")
	entries, err := files.ReadDir(dir)
	if err != nil {
		panic(fmt.Sprintf("sqldb: %v", err))
	}
	m := &Migrator{table: versionTable, dialect: d}
	for _, e := range entries {
		text, err := files.ReadFile(path.Join(dir, e.Name()))
		number, name, ok := strings.Cut(strings.TrimSuffix(e.Name(), ".sql"), "_")
		version, atoiErr := strconv.Atoi(number)
		if err != nil || !ok || atoiErr != nil {
			panic(fmt.Sprintf("sqldb: bad migration file %s", e.Name()))
		}
		m.steps = append(m.steps, Migration{Version: version, Name: name, SQL: string(text)})
	}
	slices.SortFunc(m.steps, func(a, b Migration) int { return cmp.Compare(a.Version, b.Version) })
	for i, s := range m.steps {
		if s.Version != i+1 {
			panic(fmt.Sprintf("sqldb: %s has no migration %d", dir, i+1))
		}
		first, _, _ := strings.Cut(s.SQL, "\n")
		name, marked := strings.CutPrefix(first, leavesMark)
		table, column, dotted := strings.Cut(name, ".")
		if !marked || !dotted {
			panic(fmt.Sprintf("sqldb: %s/%04d_%s.sql does not begin with %stable.column", dir, s.Version, s.Name, leavesMark))
		}
		m.leaves = append(m.leaves, leaf{table, column})
	}
	return m
}

// Steps returns every migration in order, for printing. Their SQL also writes
// the history, so that Check and Up accept a schema migrated with another tool.
func (m *Migrator) Steps() []Migration {
	steps := slices.Clone(m.steps)
	for i, s := range steps {
		steps[i].SQL = fmt.Sprintf("%s\n%s;\nINSERT INTO %s (version, name) VALUES (%d, '%s');\n",
			s.SQL, m.versionTable(), m.table, s.Version, s.Name)
	}
	return steps
}

// Up applies the missing steps in one transaction and returns them. On a schema
// that is up to date it only reads. Concurrent migrations wait for one another.
// A schema newer than this program is not changed. A lost history is written
// again.
func (m *Migrator) Up(ctx context.Context, db *sqlx.DB) (applied []Migration, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("migrate %s: %w", m.table, err)
		}
	}()
	var upToDate bool
	err = m.transact(ctx, db, m.dialect.ReadOnly(), func(tx *sqlx.Tx) error {
		s, err := m.standing(ctx, tx)
		upToDate = s.noted >= len(m.steps) || s.closed && s.shown >= len(m.steps)
		return err
	})
	if err != nil || upToDate {
		return nil, err
	}
	err = m.transact(ctx, db, m.dialect.ReadCommitted(), func(tx *sqlx.Tx) (err error) {
		applied, err = m.apply(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return applied, nil
}

// apply applies the missing steps after other migrations have ended.
func (m *Migrator) apply(ctx context.Context, tx *sqlx.Tx) (applied []Migration, err error) {
	if err := m.lock(ctx, tx); err != nil {
		return nil, err
	}
	s, err := m.standing(ctx, tx)
	if err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, m.versionTable()); err != nil {
		return nil, err
	}
	for _, step := range m.steps[min(s.noted, len(m.steps)):] {
		if step.Version > s.version() {
			if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
				return nil, fmt.Errorf("step %d %s: %w", step.Version, step.Name, m.explainTaken(err))
			}
			applied = append(applied, step)
		}
		insert := `INSERT INTO ` + m.table + ` (version, name) VALUES ($1, $2)`
		if _, err := tx.ExecContext(ctx, insert, step.Version, step.Name); err != nil {
			return nil, err
		}
	}
	return applied, nil
}

// explainTaken adds what to do if a name is in use: the service has its own
// table of this name.
func (m *Migrator) explainTaken(err error) error {
	const duplicateTable = "42P07"
	switch {
	case m.dialect == PostgreSQL && SQLState(err) == duplicateTable:
		return fmt.Errorf("%w; that one was created by another program and is not changed: "+
			"create a schema for these tables and name it, by WithSchema or as search_path in the URL", err)
	case m.dialect == SQLite && strings.Contains(err.Error(), "already exists"):
		return fmt.Errorf("%w; that one was created by another program and is not changed: use another file for these tables", err)
	}
	return err
}

// transact runs do in a transaction whose search_path is the schema of the
// tables.
func (m *Migrator) transact(ctx context.Context, db *sqlx.DB, opts *sql.TxOptions, do func(tx *sqlx.Tx) error) error {
	return Transact(ctx, db, opts, func(ctx context.Context, tx *sqlx.Tx) error {
		if err := apply(ctx, tx, Settings{}.statement(m.dialect)); err != nil {
			return err
		}
		if m.locate == nil || m.dialect != PostgreSQL {
			return do(tx)
		}
		schema, err := m.locate(ctx, tx)
		if err != nil {
			return err
		}
		if schema != "" {
			// Temporary tables of the session come first unless they are named.
			if _, err := tx.ExecContext(ctx, `SET LOCAL search_path TO `+QuoteName(schema)+`, pg_temp`); err != nil {
				return err
			}
		}
		return do(tx)
	})
}

func (m *Migrator) versionTable() string {
	instant := "timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP"
	if m.dialect == SQLite {
		instant = "timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))"
	}
	return `CREATE TABLE IF NOT EXISTS ` + m.table + ` (
  version    integer PRIMARY KEY,
  name       text NOT NULL,
  applied_at ` + instant + `
)`
}

// lock makes concurrent migrations wait for one another until the transaction
// ends. SQLite needs none: the write transaction is the lock.
func (m *Migrator) lock(ctx context.Context, tx *sqlx.Tx) error {
	if m.dialect != PostgreSQL {
		return nil
	}
	h := fnv.New64a()
	h.Write([]byte("pulse-events/" + m.table))
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(h.Sum64()))
	return err
}

// standing is the version of a schema.
type standing struct {
	noted  int  // by its history
	closed bool // the history cannot be read, for example by a role that only enqueues
	shown  int  // by existing columns, checked if the history is empty
}

func (s standing) version() int { return max(s.noted, s.shown) }

func (m *Migrator) standing(ctx context.Context, tx *sqlx.Tx) (s standing, err error) {
	history, err := m.hasColumn(ctx, tx, m.table, "version")
	if err != nil {
		return s, err
	}
	if history && m.dialect == PostgreSQL {
		if err := tx.GetContext(ctx, &s.closed, `SELECT NOT pg_catalog.has_table_privilege($1, 'SELECT')`, m.table); err != nil {
			return s, err
		}
	}
	if history && !s.closed {
		if err := tx.GetContext(ctx, &s.noted, `SELECT coalesce(max(version), 0) FROM `+m.table); err != nil || s.noted > 0 {
			return s, err
		}
	}
	for i, l := range m.leaves {
		if there, err := m.hasColumn(ctx, tx, l.table, l.column); err != nil || !there {
			return s, err
		}
		s.shown = i + 1
	}
	return s, nil
}

// hasColumn checks for a column without an error that would abort the
// transaction. A temporary table of that name is another's.
func (m *Migrator) hasColumn(ctx context.Context, tx *sqlx.Tx, table, column string) (there bool, err error) {
	query := `SELECT count(*) > 0 FROM pg_catalog.pg_attribute AS a JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped AND c.relpersistence <> 't'`
	if m.dialect == SQLite {
		query = `SELECT count(*) > 0 FROM pragma_table_info($1) WHERE name = $2`
	}
	err = tx.GetContext(ctx, &there, query, table, column)
	return there, err
}

// Status returns every step with the time it was applied. It changes nothing;
// on a database without the schema no step is applied.
func (m *Migrator) Status(ctx context.Context, db *sqlx.DB) ([]Migration, error) {
	steps := m.Steps()
	var noted []struct {
		Version int     `db:"version"`
		At      Instant `db:"applied_at"`
	}
	err := m.transact(ctx, db, m.dialect.ReadOnly(), func(tx *sqlx.Tx) error {
		if there, err := m.hasColumn(ctx, tx, m.table, "version"); err != nil || !there {
			return err
		}
		return tx.SelectContext(ctx, &noted, `SELECT version, applied_at FROM `+m.table+` ORDER BY version`)
	})
	if err != nil {
		return nil, fmt.Errorf("migration status of %s: %w", m.table, err)
	}
	for _, n := range noted {
		if n.Version >= 1 && n.Version <= len(steps) {
			steps[n.Version-1].AppliedAt = n.At.Time
		}
	}
	return steps, nil
}

// Check returns an ErrSchema if the schema is missing or older than this
// program, nil if it is up to date or newer.
func (m *Migrator) Check(ctx context.Context, db *sqlx.DB) error {
	var s standing
	err := m.transact(ctx, db, m.dialect.ReadOnly(), func(tx *sqlx.Tx) (err error) {
		s, err = m.standing(ctx, tx)
		return err
	})
	if err := Schema(err); err != nil {
		return err
	}
	if s.version() < len(m.steps) {
		return fmt.Errorf("%w: %s is at version %d, this program needs %d", ErrSchema, m.table, s.version(), len(m.steps))
	}
	return nil
}
