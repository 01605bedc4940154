package sqldb

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/jmoiron/sqlx/reflectx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

type note struct {
	ID   int    `db:"id" json:"number"`
	Text string `db:"text" json:"words"`
}

// A mapper on the service's handle does not matter.
func TestDatabaseIgnoresMapper(t *testing.T) {
	eachDatabase(t, func(t *testing.T, _ Dialect, db *sqlx.DB) {
		for name, lend := range map[string]func(*sqlx.DB){
			"tags":     func(db *sqlx.DB) { db.Mapper = reflectx.NewMapperFunc("json", strings.ToLower) },
			"capitals": func(db *sqlx.DB) { db.MapperFunc(strings.ToUpper) },
			"none":     func(db *sqlx.DB) { db.Mapper = nil },
		} {
			lent := sqlx.NewDb(db.DB, db.DriverName())
			lend(lent)
			d := openNotes(t, lent, "")
			if _, err := d.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			var all []note
			err := d.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
				if _, err := tx.Exec(ctx, "add", 1, name); err != nil {
					return err
				}
				return tx.Select(ctx, &all, "all")
			})
			if err != nil || len(all) != 1 || all[0] != (note{1, name}) {
				t.Errorf("%s: %+v, %v", name, all, err)
			}
			db.MustExec(`DELETE FROM notes`)
		}
	})
}

// Settings of a transaction end with it.
func TestSettingsEndWithTransaction(t *testing.T) {
	eachDriver(t, func(t *testing.T, open func(string) *sqlx.DB) {
		db := open(testenv.Postgres(t))
		db.SetMaxOpenConns(1)
		lent := openNotes(t, db, "")
		if _, err := lent.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		db.MustExec(`SET bytea_output = escape`)
		db.MustExec(`SET "TimeZone" = 'Asia/Kolkata'`)
		db.MustExec(`SET standard_conforming_strings = off`)
		db.MustExec(`SET statement_timeout = '7s'`)
		before := settings(t, lent.With(Settings{}), "SELECT 1")
		d := lent.With(Settings{Name: `it's a \ name, Größe and more than PostgreSQL would ever keep of it`, StatementTimeout: time.Minute,
			LockTimeout: time.Microsecond, IdleTimeout: time.Hour, ByIndex: true})
		got := settings(t, d, d.settings)
		for _, want := range []string{
			"application_name=it?s a ? name, Gr??e", "bytea_output=hex", "DateStyle=ISO, MDY", "TimeZone=UTC",
			"standard_conforming_strings=on", "statement_timeout=60000", "lock_timeout=1", "idle_in_transaction_session_timeout=3600000",
			"enable_seqscan=off", "plan_cache_mode=auto", "jit=off",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("no %s in %s", want, got)
			}
		}
		if after := settings(t, lent.With(Settings{}), "SELECT 1"); after != before {
			t.Errorf("left behind: %s, was %s", after, before)
		}
		// the default of other queries
		if got := settings(t, lent, lent.settings); !strings.Contains(got, "enable_seqscan=on") || !strings.Contains(got, "plan_cache_mode=force_custom_plan") {
			t.Error(got)
		}
	})
}

// settings returns the settings that a transaction sees after it has run a
// statement.
func settings(t *testing.T, d *Database, statement string) string {
	t.Helper()
	var list []string
	err := Transact(t.Context(), d.own, nil, func(ctx context.Context, tx *sqlx.Tx) error {
		if err := apply(ctx, tx, statement); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &list, d.finder.queries.Get("settings"))
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(list, "; ")
}

// The server ends a session that holds locks and is idle because its process
// was stopped.
func TestSettingsIdleTimeout(t *testing.T) {
	db := open(t, "pgx", testenv.Postgres(t))
	d := openNotes(t, db, "")
	if _, err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = d.With(Settings{IdleTimeout: 50 * time.Millisecond})
	err := d.Write(t.Context(), func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, "add", 1, ""); err != nil {
			return err
		}
		testenv.Eventually(t, 20*time.Second, "the server to end the session", func() bool {
			return count(t, db, `SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()`) == 0
		})
		_, err := tx.Exec(ctx, "add", 2, "")
		return err
	})
	if Judge(err) != Idled && Judge(err) != Lost {
		t.Errorf("%v: %q", err, Judge(err))
	}
	if n := count(t, db, `SELECT count(*) FROM notes`); n != 0 {
		t.Errorf("%d rows", n)
	}
}
