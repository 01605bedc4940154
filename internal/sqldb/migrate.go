package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
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
	SQL       string    // what it runs, and the entry in the history
	AppliedAt time.Time // zero: not applied
}

// Migrator brings one schema to its newest version and keeps its history in a
// version table of its own, so that several schemas share a database.
type Migrator struct {
	table   string
	dialect Dialect
	steps   []Migration
}

// NewMigrator reads the steps root/dialect/migrations/NNNN_name.sql. The files
// are embedded, so a gap or a bad name is a defect of the build: it panics.
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
	}
	return m
}

// Steps returns every migration in order, for printing. Their SQL also writes
// the history, so that whoever runs it in another tool is up to date to Check
// and Up.
func (m *Migrator) Steps() []Migration {
	steps := slices.Clone(m.steps)
	for i, s := range steps {
		steps[i].SQL = fmt.Sprintf("%s\n%s;\nINSERT INTO %s (version, name) VALUES (%d, '%s');\n",
			s.SQL, m.versionTable(), m.table, s.Version, s.Name)
	}
	return steps
}

// Up applies what is missing, in one transaction, and returns what it applied:
// nothing on a schema that is up to date. Processes that migrate at once wait
// for one another. A schema newer than this program is left alone.
func (m *Migrator) Up(ctx context.Context, db *sqlx.DB) (applied []Migration, err error) {
	tx, err := db.BeginTxx(ctx, m.dialect.ReadCommitted())
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", m.table, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("migrate %s: %w", m.table, err), ignoreDone(tx.Rollback()))
		}
	}()
	if err := m.lock(ctx, tx); err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, m.versionTable()); err != nil {
		return nil, err
	}
	current, err := m.version(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, step := range m.steps[min(current, len(m.steps)):] {
		if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
			return nil, fmt.Errorf("step %d %s: %w", step.Version, step.Name, err)
		}
		insert := m.dialect.Rebind(`INSERT INTO ` + m.table + ` (version, name) VALUES (?, ?)`)
		if _, err := tx.ExecContext(ctx, insert, step.Version, step.Name); err != nil {
			return nil, err
		}
		applied = append(applied, step)
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	return applied, nil
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

func (m *Migrator) version(ctx context.Context, q sqlx.QueryerContext) (int, error) {
	var version int
	err := sqlx.GetContext(ctx, q, &version, `SELECT coalesce(max(version), 0) FROM `+m.table)
	return version, err
}

// Status returns every step with the time it was applied. It changes nothing;
// on a database without the schema no step is applied.
func (m *Migrator) Status(ctx context.Context, db *sqlx.DB) ([]Migration, error) {
	steps := m.Steps()
	rows, err := db.QueryxContext(ctx, `SELECT version, applied_at FROM `+m.table+` ORDER BY version`)
	if err := Schema(err); errors.Is(err, ErrSchema) {
		return steps, nil
	} else if err != nil {
		return nil, fmt.Errorf("migration status of %s: %w", m.table, err)
	}
	defer rows.Close()
	for rows.Next() {
		var version int
		var at Instant
		if err := rows.Scan(&version, &at); err != nil {
			return nil, fmt.Errorf("migration status of %s: %w", m.table, err)
		}
		if version <= len(steps) {
			steps[version-1].AppliedAt = at.Time
		}
	}
	return steps, rows.Err()
}

// Check returns an ErrSchema when the schema is missing or older than this
// program, nil when it is up to date or newer.
func (m *Migrator) Check(ctx context.Context, db *sqlx.DB) error {
	current, err := m.version(ctx, db)
	if err := Schema(err); err != nil {
		return err
	}
	if current < len(m.steps) {
		return fmt.Errorf("%w: %s is at version %d, this program needs %d", ErrSchema, m.table, current, len(m.steps))
	}
	return nil
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}
