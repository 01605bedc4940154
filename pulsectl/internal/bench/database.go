package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// place is where a measurement has its tables: a schema of PostgreSQL or a file
// of SQLite.
type place struct {
	db     *sqlx.DB
	schema string // PostgreSQL
	dir    string // SQLite
}

// cleanupLimit bounds the removal of what a measurement leaves, also once its
// context has ended.
const cleanupLimit = time.Minute

// dialLimit bounds the first connection to a database.
const dialLimit = 10 * time.Second

// newPlace makes a place in the database of c.
func (c Config) newPlace(ctx context.Context) (_ *place, err error) {
	url, p := c.Database, new(place)
	if sqlite.IsURL(url) {
		if err := sqlite.Validate(url); err != nil {
			return nil, err
		}
		if p.dir, err = os.MkdirTemp(filepath.Dir(sqlite.Path(url)), unique()); err != nil {
			return nil, err
		}
		url = sqlite.URL(filepath.Join(p.dir, "bench.db"))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.remove(ctx))
		}
	}()
	db, dialect, err := database.Open(url, "pulsectl bench")
	if err != nil {
		return nil, err
	}
	p.db = db
	p.db.SetMaxIdleConns(16)
	err = fail.Within(ctx, dialLimit, func(ctx context.Context) error { return db.PingContext(ctx) })
	if err != nil {
		return nil, fail.CannotReach("database", err)
	}
	if dialect == sqldb.PostgreSQL {
		schema := unique()
		if _, err := db.ExecContext(ctx, `CREATE SCHEMA `+schema); err != nil {
			return nil, fmt.Errorf("making a schema for the measurement: %w", err)
		}
		p.schema = schema
	}
	return p, nil
}

// table returns the name of a table of the place, for use in SQL.
func (p *place) table(name string) string {
	if p.schema == "" {
		return name
	}
	return p.schema + "." + name
}

// remove deletes the place with everything in it.
func (p *place) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	var errs []error
	if p.schema != "" {
		if _, err := p.db.ExecContext(ctx, `DROP SCHEMA `+p.schema+` CASCADE`); err != nil {
			errs = append(errs, fmt.Errorf("the schema %s is left behind: %w", p.schema, err))
		}
	}
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	if p.dir != "" {
		errs = append(errs, os.RemoveAll(p.dir))
	}
	return errors.Join(errs...)
}

// outbox returns an empty outbox in the place.
func (p *place) outbox(ctx context.Context) (*outbox.Outbox, error) {
	var opts []outbox.Option
	if p.schema != "" {
		opts = append(opts, outbox.WithSchema(p.schema))
	}
	ob, err := outbox.New(p.db, opts...)
	if err != nil {
		return nil, err
	}
	_, err = ob.Migrate(ctx)
	return ob, err
}

// inbox returns an empty inbox in the place, with a table for effects. That has no
// unique key on events, so that one that is applied twice shows.
func (p *place) inbox(ctx context.Context) (*inbox.Inbox, error) {
	var opts []inbox.Option
	if p.schema != "" {
		opts = append(opts, inbox.WithSchema(p.schema))
	}
	in, err := inbox.New(p.db, "bench", opts...)
	if err != nil {
		return nil, err
	}
	if _, err := in.Migrate(ctx); err != nil {
		return nil, err
	}
	_, err = p.db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS `+p.table("effects")+` (event_id text NOT NULL)`)
	return in, err
}

// apply is a handler with an effect of one row.
func (p *place) apply(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO `+p.table("effects")+` (event_id) VALUES ($1)`, msg.ID)
	return err
}

// empty deletes the rows of tables.
func (p *place) empty(ctx context.Context, tables ...string) error {
	for _, table := range tables {
		statement := `TRUNCATE `
		if p.schema == "" {
			statement = `DELETE FROM `
		}
		if _, err := p.db.ExecContext(ctx, statement+p.table(table)); err != nil {
			return err
		}
	}
	return nil
}

// want returns an error unless a table has n rows: the work was not done.
func (p *place) want(ctx context.Context, n int, table, condition string) error {
	var got int
	if err := p.db.GetContext(ctx, &got, `SELECT count(*) FROM `+p.table(table)+` WHERE `+condition); err != nil {
		return err
	}
	if got != n {
		return fmt.Errorf("%s: %d rows where %s, want %d", table, got, condition, n)
	}
	return nil
}

// transact runs do in a transaction.
func (p *place) transact(ctx context.Context, do func(*sqlx.Tx) error) error {
	tx, err := p.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // no effect after a commit
	if err := do(tx); err != nil {
		return err
	}
	return tx.Commit()
}
