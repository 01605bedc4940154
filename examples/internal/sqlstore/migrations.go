package sqlstore

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"strconv"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/outbox"
)

// Migrations are the steps of a schema. Those that were applied are noted in a
// table of its own.
type Migrations struct {
	dialect outbox.Dialect
	table   string
	steps   []outbox.Migration
}

// NewMigrations reads the steps sql/<dialect>/migrations/NNNN_name.sql, which
// are numbered from 1. It panics where they are not: files are embedded.
func NewMigrations(files embed.FS, d outbox.Dialect, table string) *Migrations {
	m := &Migrations{dialect: d, table: table}
	dir := path.Join("sql", string(d), "migrations")
	entries, err := files.ReadDir(dir) // in the order of names
	if err != nil {
		panic(err)
	}
	for i, e := range entries {
		text, err := files.ReadFile(path.Join(dir, e.Name()))
		number, name, _ := strings.Cut(strings.TrimSuffix(e.Name(), ".sql"), "_")
		version, numberErr := strconv.Atoi(number)
		if err != nil || numberErr != nil || version != i+1 {
			panic(fmt.Sprintf("%s/%s: want step %d", dir, e.Name(), i+1))
		}
		m.steps = append(m.steps, outbox.Migration{Version: version, Name: name, SQL: string(text)})
	}
	return m
}

// Check returns an outbox.ErrSchema when steps are missing.
func (m *Migrations) Check(ctx context.Context, db *sqlx.DB) error {
	version, err := m.version(ctx, db)
	if noTable(err) {
		return fmt.Errorf("%w: %w", outbox.ErrSchema, err)
	}
	if err == nil && version < len(m.steps) {
		return fmt.Errorf("%w: %s is at version %d, this program needs %d", outbox.ErrSchema, m.table, version, len(m.steps))
	}
	return err
}

// noTable reports whether err says that the table is missing.
func noTable(err error) bool {
	// Both pgx and lib/pq have the method.
	e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	return ok && e.SQLState() == "42P01" || err != nil && strings.Contains(err.Error(), "no such table")
}

func (m *Migrations) version(ctx context.Context, q sqlx.QueryerContext) (version int, err error) {
	err = sqlx.GetContext(ctx, q, &version, `SELECT coalesce(max(version), 0) FROM `+m.table)
	return version, err
}

// Up applies the steps that are missing, in one transaction, and returns them.
// Processes that do so at once wait for one another. Where nothing is missing it
// only reads.
func (m *Migrations) Up(ctx context.Context, db *sqlx.DB) ([]outbox.Migration, error) {
	if m.Check(ctx, db) == nil {
		return nil, nil
	}
	applied, err := m.apply(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", m.table, err)
	}
	return applied, nil
}

func (m *Migrations) apply(ctx context.Context, db *sqlx.DB) (applied []outbox.Migration, err error) {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = tx.Rollback() }() // after the commit it does nothing
	clock := `timestamp NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f000', 'now'))`
	if m.dialect == outbox.PostgreSQL {
		clock = `timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP`
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(crc32.ChecksumIEEE([]byte(m.table)))); err != nil {
			return nil, err
		}
	}
	history := `CREATE TABLE IF NOT EXISTS ` + m.table + ` (version integer PRIMARY KEY, name text NOT NULL, applied_at ` + clock + `)`
	if _, err := tx.ExecContext(ctx, history); err != nil {
		return nil, err
	}
	version, err := m.version(ctx, tx)
	if err != nil {
		return nil, err
	}
	for _, step := range m.steps[min(version, len(m.steps)):] {
		if _, err := tx.ExecContext(ctx, step.SQL); err != nil {
			return nil, fmt.Errorf("step %d %s: %w", step.Version, step.Name, err)
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO `+m.table+` (version, name) VALUES ($1, $2)`, step.Version, step.Name); err != nil {
			return nil, err
		}
		applied = append(applied, step)
	}
	return applied, tx.Commit()
}
