package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/examples/notifications"
	"github.com/asimalizada/pulse-events/examples/orders"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
	"github.com/asimalizada/pulse-events/outbox/roles"
)

const (
	ordersService        = "orders"
	notificationsService = "notifications"
	// owner of the databases and of all that is in them.
	owner = "pulse_owner"
)

// names are those of pulsectl migrate print --roles.
var names = roles.Names{Prefix: "pulse", Schema: "public"}

// database is a PostgreSQL server.
type database struct {
	server string // host:port
	users  map[string]*url.Userinfo
	log    *slog.Logger
}

// part is what one service needs in the database of its name.
type part struct {
	service string // also the role that it logs in as
	roles   string // that it has, separated by commas
	migrate func(context.Context, *sqlx.DB) (steps int, err error)
	grant   func(roles.Names) (string, error) // makes roles
	rights  func(role string) string          // on the service's own tables
}

var parts = []part{
	{ordersService, "pulse_producer, pulse_relay", migrateOrders, roles.Outbox, orders.Rights},
	{notificationsService, "pulse_consumer", migrateNotifications, roles.Inbox, notifications.Rights},
}

// setUp tries until the server answers and no transaction of a service that still
// runs is in the way.
func (d *database) setUp(ctx context.Context) error {
	for {
		err := d.trySetUp(ctx)
		if err == nil || !outbox.IsDatabaseUnanswered(err) && !inTheWay(err) || ctx.Err() != nil {
			return err
		}
		d.log.WarnContext(ctx, "the database does not let us work; trying again", "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return err
		}
	}
}

// inTheWay reports whether err says that another transaction was.
func inTheWay(err error) bool {
	e, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err)
	return ok && (e.SQLState() == "40P01" || e.SQLState() == "55P03") // deadlock_detected, lock_not_available
}

func (d *database) trySetUp(ctx context.Context) (err error) {
	server, err := d.open(superuser, "postgres")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	// One run at a time, until the only connection of this pool ends.
	if _, err := server.ExecContext(ctx, `SELECT pg_advisory_lock(7302118)`); err != nil {
		return err
	}
	for _, role := range []string{owner, ordersService, notificationsService} {
		if err := d.ensureLogin(ctx, server, role); err != nil {
			return fmt.Errorf("role %s: %w", role, err)
		}
	}
	// What others do is shown to the owner, for pulsectl doctor.
	if _, err := server.ExecContext(ctx, `GRANT pg_monitor TO `+owner+`; REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC`); err != nil {
		return err
	}
	for _, p := range parts {
		var there bool
		err := server.GetContext(ctx, &there, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, p.service)
		if err == nil && !there {
			_, err = server.ExecContext(ctx, `CREATE DATABASE `+p.service+` OWNER `+owner)
		}
		if err == nil {
			err = d.prepare(ctx, p)
		}
		if err != nil {
			return fmt.Errorf("database %s: %w", p.service, err)
		}
	}
	return nil
}

// ensureLogin makes a role where it is missing, and takes from it what only
// administrators may.
func (d *database) ensureLogin(ctx context.Context, server *sqlx.DB, role string) error {
	var there bool
	if err := server.GetContext(ctx, &there, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, role); err != nil {
		return err
	}
	if !there {
		if _, err := server.ExecContext(ctx, `CREATE ROLE `+role); err != nil {
			return err
		}
	}
	password, _ := d.users[role].Password() // letters and digits
	_, err := server.ExecContext(ctx, `ALTER ROLE `+role+` LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '`+password+`'`)
	return err
}

// prepare brings a service's database to what it needs. Until a version of this
// project that had no owner, the database and all in it was the service's.
func (d *database) prepare(ctx context.Context, p part) (err error) {
	admin, err := d.open(superuser, p.service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, admin.Close()) }()
	// One transaction.
	_, err = admin.ExecContext(ctx, `REASSIGN OWNED BY `+p.service+` TO `+owner+`;
		REVOKE ALL ON DATABASE `+p.service+` FROM PUBLIC; GRANT CONNECT ON DATABASE `+p.service+` TO `+p.service+`;
		REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE, CREATE ON SCHEMA public TO `+owner)
	if err != nil {
		return fmt.Errorf("give it to %s: %w", owner, err)
	}
	db, err := d.open(owner, p.service)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	steps, err := p.migrate(ctx, db)
	if err != nil {
		return err
	}
	if steps > 0 {
		d.log.InfoContext(ctx, "schema migrated", "database", p.service, "steps", steps)
	}
	grants, err := p.grant(names)
	if err != nil {
		return err
	}
	if _, err := admin.ExecContext(ctx, grants); err != nil {
		return fmt.Errorf("roles: %w", err)
	}
	if _, err := admin.ExecContext(ctx, `GRANT `+p.roles+` TO `+p.service+`; `+p.rights(p.service)); err != nil {
		return fmt.Errorf("rights of the service: %w", err)
	}
	return nil
}

// open returns a pool for a user. Statements with passwords are kept out of the
// server's log, also those that fail.
func (d *database) open(user, name string) (*sqlx.DB, error) {
	settings := url.Values{"sslmode": {"disable"}, "lock_timeout": {"20000"}}
	if user == superuser {
		settings.Set("log_statement", "none")
		settings.Set("log_min_duration_statement", "-1")
		settings.Set("log_min_error_statement", "panic")
	}
	u := url.URL{Scheme: "postgres", User: d.users[user], Host: d.server, Path: "/" + name, RawQuery: settings.Encode()}
	return postgres.Open(postgres.Config{URL: u.String(), Name: "setup", MaxConns: 1})
}

func migrateOrders(ctx context.Context, db *sqlx.DB) (steps int, err error) {
	own, err := orders.Schema(outbox.PostgreSQL).Up(ctx, db)
	if err != nil {
		return 0, err
	}
	ob, err := outbox.New(db)
	if err != nil {
		return 0, err
	}
	shared, err := ob.Migrate(ctx)
	return len(own) + len(shared), err
}

func migrateNotifications(ctx context.Context, db *sqlx.DB) (steps int, err error) {
	own, err := notifications.Schema(outbox.PostgreSQL).Up(ctx, db)
	if err != nil {
		return 0, err
	}
	in, err := inbox.New(db, notificationsService)
	if err != nil {
		return 0, err
	}
	shared, err := in.Migrate(ctx)
	return len(own) + len(shared), err
}
