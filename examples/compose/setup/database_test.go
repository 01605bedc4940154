package main

import (
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
)

// former are the statements by which a version without an owner of the tables
// made roles and databases, when the data directory was new.
var former = []string{
	`REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC`,
	`CREATE ROLE orders LOGIN PASSWORD 'orderspassword'`,
	`CREATE DATABASE orders OWNER orders`,
	`REVOKE CONNECT, TEMPORARY ON DATABASE orders FROM PUBLIC`,
	`CREATE ROLE notifications LOGIN PASSWORD 'notificationspassword'`,
	`CREATE DATABASE notifications OWNER notifications`,
	`REVOKE CONNECT, TEMPORARY ON DATABASE notifications FROM PUBLIC`,
}

// A new server, one of a former version, and one that a run was cut short on come
// to the same.
func TestMigrate(t *testing.T) {
	t.Parallel()
	server, err := url.Parse(testenv.PostgresServer(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	d := &database{server: server.Host, log: slog.New(slog.DiscardHandler), users: map[string]*url.Userinfo{
		superuser: server.User, owner: url.UserPassword(owner, "ownerspassword"),
		ordersService: url.UserPassword(ordersService, "orderspassword"), notificationsService: url.UserPassword(notificationsService, "notificationspassword"),
	}}
	admin := d.pool(t, superuser, "postgres")

	for _, statement := range former {
		admin.MustExec(statement)
	}
	for _, p := range parts { // each service migrated what it owned
		db := d.pool(t, p.service, p.service)
		if _, err := p.migrate(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	d.enqueue(t)
	d.check(t, 1)

	drop := `DROP DATABASE orders; DROP DATABASE notifications; DROP OWNED BY pulse_owner, orders, notifications; DROP ROLE pulse_owner, orders, notifications,
		pulse_producer, pulse_relay, pulse_consumer, pulse_operator, pulse_readonly`
	for statement := range strings.SplitSeq(drop, ";") {
		admin.MustExec(statement)
	}
	admin.MustExec(`CREATE ROLE pulse_owner`)
	admin.MustExec(`CREATE ROLE orders`)
	d.check(t, 0)
}

// check sets up, twice, and tries what services may do and what not. The outbox
// has some messages.
func (d *database) check(t *testing.T, messages int) {
	t.Helper()
	for range 2 {
		if err := d.setUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	orders, notifications := d.pool(t, ordersService, ordersService), d.pool(t, notificationsService, notificationsService)
	defer orders.Close()
	defer notifications.Close()
	refused(t, orders, `CREATE TABLE mine ()`, `CREATE TEMPORARY TABLE mine ()`, `CREATE SCHEMA mine`, `CREATE ROLE mine`, `CREATE DATABASE mine`, `SET ROLE pulse_owner`,
		`ALTER TABLE orders ADD mine text`, `DROP TABLE outbox_messages`, `DELETE FROM orders`, `UPDATE orders SET customer_id = 'x'`, `DELETE FROM outbox_schema`,
		`SELECT * FROM outbox_audit`, `INSERT INTO outbox_pauses SELECT * FROM outbox_pauses`)
	refused(t, notifications, `CREATE TABLE mine ()`, `CREATE TEMPORARY TABLE mine ()`, `CREATE SCHEMA mine`, `SET ROLE pulse_owner`, `DROP TABLE processed_events`,
		`ALTER TABLE notifications ADD mine text`, `DELETE FROM notifications`, `UPDATE processed_events SET consumer = 'x'`, `DELETE FROM inbox_schema`)
	for _, elsewhere := range [][2]string{
		{ordersService, notificationsService}, {notificationsService, ordersService}, {ordersService, "postgres"}, {notificationsService, "template1"}, {owner, "postgres"},
	} {
		db := d.pool(t, elsewhere[0], elsewhere[1])
		refused(t, db, `SELECT 1`)
		db.Close()
	}

	owned := 0
	for _, p := range parts {
		admin := d.pool(t, superuser, p.service)
		var more int
		err := admin.Get(&more, `SELECT (SELECT count(*) FROM pg_class WHERE relowner <> 10 AND relowner <> $1::regrole) +
			(SELECT count(*) FROM pg_database WHERE datdba <> 10 AND datdba <> $1::regrole) + (SELECT count(*) FROM pg_proc WHERE proowner <> 10 AND proowner <> $1::regrole)`, owner)
		if err != nil {
			t.Fatal(err)
		}
		owned += more
		var has []string
		err = admin.Select(&has, `SELECT roleid::regrole::text FROM pg_auth_members WHERE member = $1::regrole ORDER BY 1`, p.service)
		if want := strings.Split(p.roles, ", "); err != nil || !slices.Equal(has, want) {
			t.Errorf("%s has the roles %q, want %q; %v", p.service, has, want, err)
		}
		admin.Close()
		db := d.pool(t, owner, p.service)
		if steps, err := p.migrate(t.Context(), db); err != nil || steps != 0 {
			t.Errorf("the owner migrates %d steps of %s: %v", steps, p.service, err)
		}
		db.Close()
	}
	if owned > 0 {
		t.Errorf("%d things have another owner than %s", owned, owner)
	}

	d.enqueue(t)
	var there int
	if err := orders.Get(&there, `SELECT count(*) FROM outbox_messages`); err != nil || there != messages+1 {
		t.Errorf("%d messages, want %d; %v", there, messages+1, err)
	}
}

// enqueue writes a message as the service does.
func (d *database) enqueue(t *testing.T) {
	t.Helper()
	db := d.pool(t, ordersService, ordersService)
	defer db.Close()
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if err := errors.Join(ob.Enqueue(t.Context(), tx, outbox.NewMessage("order.created", []byte(`{}`))), tx.Commit()); err != nil {
		t.Fatal(err)
	}
}

func (d *database) pool(t *testing.T, user, name string) *sqlx.DB {
	t.Helper()
	db, err := d.open(user, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// refused checks that a role lacks the right for each of these.
func refused(t *testing.T, db *sqlx.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		_, err := db.ExecContext(t.Context(), s)
		if refusal, ok := errors.AsType[*pgconn.PgError](err); !ok || refusal.Code != "42501" { // insufficient_privilege
			t.Errorf("%s: %v, want to be refused", s, err)
		}
	}
}
