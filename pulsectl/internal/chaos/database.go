package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// store is a database of the run, with tables of its own: a SQLite file, or a
// schema of a PostgreSQL.
type store struct {
	db        *sqlx.DB
	url       string // of the database, whose search path is the schema
	memberURL string // the same for the run's processes
	schema    string // PostgreSQL
	role      account
	outbox    *outbox.Outbox
}

// observerSession is the name of the observer's sessions, which no fault ends.
const observerSession = "pulsectl chaos"

// schemaLimit bounds what is done to make and remove a store.
const schemaLimit = time.Minute

// Tables of the service and of the consumer. An effect can be there twice: that is
// for the checker to find.
const (
	ordersTables = `
		CREATE TABLE chaos_customers (id text PRIMARY KEY, n integer NOT NULL);
		CREATE TABLE chaos_orders (id text PRIMARY KEY, event_id text NOT NULL, customer text NOT NULL, n integer NOT NULL)`
	effectsTables = `
		CREATE TABLE chaos_effects (event_id text NOT NULL, follow_up text NOT NULL, body text NOT NULL, applied_at bigint NOT NULL)`
)

func openFile(ctx context.Context, path, tables string) (*store, error) {
	return (&store{url: sqlite.URL(path), memberURL: sqlite.URL(path)}).open(ctx, tables)
}

// schema is what a store in a PostgreSQL is made of.
type schema struct {
	databaseURL, name, tables string
	role                      bool // make one for the run's processes, with the schema's name
	clock                     bool // make one that can be moved
}

func (c schema) open(ctx context.Context) (*store, error) {
	db, _, err := database.Open(c.databaseURL, observerSession)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, schemaLimit)
	defer cancel()
	if _, err := db.ExecContext(ctx, `CREATE SCHEMA `+c.name); err != nil {
		return nil, fail.Wrap("cannot create a schema for the run", err)
	}
	s, path := &store{schema: c.name}, c.name
	if c.clock {
		path += ",pg_catalog" // which is searched first unless it is named
	}
	if s.url, err = withSearchPath(c.databaseURL, path); err != nil {
		return nil, err
	}
	s.memberURL = s.url
	if c.clock {
		if err := setClock(ctx, db, c.name, 0); err != nil { // before tables have defaults
			return nil, err
		}
	}
	if s, err = s.open(ctx, c.tables); err != nil || !c.role {
		return s, err
	}
	return s, s.makeRole(ctx)
}

func withSearchPath(databaseURL, schema string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", errors.New("the URL of the database cannot be parsed") // it may hold a password
	}
	query := u.Query()
	query.Set("search_path", schema)
	u.RawQuery = query.Encode()
	return u.String(), nil
}

func (s *store) open(ctx context.Context, tables string) (_ *store, err error) {
	if s.db, _, err = (database.Config{URL: s.url, Name: observerSession, MaxConns: 4}).Open(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.remove(ctx))
		}
	}()
	if s.outbox, err = outbox.New(s.db); err != nil {
		return nil, err
	}
	if _, err := s.outbox.Migrate(ctx); err != nil {
		return nil, err
	}
	if tables == effectsTables {
		in, err := inbox.New(s.db, process.ConsumerName)
		if err != nil {
			return nil, err
		}
		if _, err := in.Migrate(ctx); err != nil {
			return nil, err
		}
	}
	for statement := range strings.SplitSeq(tables, ";") {
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// remove closes the store, and deletes its schema. Files are the caller's.
func (s *store) remove(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), schemaLimit)
	defer cancel()
	if s.schema != "" {
		if _, err = s.db.ExecContext(ctx, `DROP SCHEMA IF EXISTS `+s.schema+` CASCADE`); err != nil {
			err = fmt.Errorf("the schema %s is left behind: %w", s.schema, err)
		}
		err = errors.Join(err, s.dropRole(ctx))
	}
	return errors.Join(err, s.db.Close())
}

func (s *store) count(ctx context.Context, what string) (n int, err error) {
	err = s.db.GetContext(ctx, &n, `SELECT count(*) FROM `+what)
	return n, err
}

// lock holds the lock of a SQLite file for some time, as another writer.
func (s *store) lock(ctx context.Context) (unlock func() error, err error) {
	tx, err := s.db.BeginTxx(ctx, nil) // takes the lock at once
	if err != nil {
		return nil, err
	}
	return tx.Rollback, nil
}

// terminate ends the sessions of the run's processes.
func (s *store) terminate(ctx context.Context, session string) error {
	_, err := s.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = $1`, session)
	return err
}

func embeddedStores(ctx context.Context, dir string) (orders, effects *store, err error) {
	if orders, err = openFile(ctx, filepath.Join(dir, "orders.db"), ordersTables); err != nil {
		return nil, nil, err
	}
	if effects, err = openFile(ctx, filepath.Join(dir, "effects.db"), effectsTables); err != nil {
		return nil, nil, errors.Join(err, orders.remove(ctx))
	}
	return orders, effects, nil
}
