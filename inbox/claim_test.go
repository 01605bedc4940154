package inbox_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
)

func TestClaimInCallersTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		claim := func(tx *sqlx.Tx, msg inbox.Message) bool {
			t.Helper()
			fresh, err := in.Claim(t.Context(), tx, msg)
			if err != nil {
				t.Fatal(err)
			}
			return fresh
		}
		tx := db.MustBegin()
		if !claim(tx, event(1)) || claim(tx, event(1)) {
			t.Error("want fresh first, and known in the same transaction")
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		tx = db.MustBegin()
		if !claim(tx, event(1)) {
			t.Error("the claim outlived its rollback")
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		std, err := db.DB.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer std.Rollback()
		if fresh, err := in.Claim(t.Context(), std, event(1)); fresh || err != nil {
			t.Errorf("after the commit: fresh %t, %v", fresh, err)
		}
		forged := event(1)
		forged.Payload = nil
		if _, err := in.Claim(t.Context(), std, forged); !errors.Is(err, inbox.ErrConflict) {
			t.Errorf("other payload: %v, want ErrConflict", err)
		}
	})
}

func TestClaimNeedsTransaction(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		conn, err := db.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for _, handle := range []inbox.ClaimTx{nil, db, db.DB, conn, conn.Conn} {
			if _, err := in.Claim(t.Context(), handle, event(1)); !errors.Is(err, inbox.ErrNoTransaction) {
				t.Errorf("%T: %v, want ErrNoTransaction", handle, err)
			}
		}
		inboxtest.RequireCount(t, db, 0, `SELECT count(*) FROM processed_events`)
	})
}

func TestClaimWaitsForCopy(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		for _, c := range []struct {
			what  string
			end   func(*sqlx.Tx) error
			fresh bool
		}{
			{"rolled back", (*sqlx.Tx).Rollback, true},
			{"committed", (*sqlx.Tx).Commit, false},
		} {
			first := db.MustBegin()
			if _, err := in.Claim(t.Context(), first, event(1)); err != nil {
				t.Fatal(err)
			}
			type answer struct {
				fresh bool
				err   error
			}
			answers := make(chan answer, 1)
			go func() {
				second, err := db.BeginTxx(t.Context(), nil)
				if err != nil { // on SQLite the transaction itself waits
					answers <- answer{false, err}
					return
				}
				fresh, err := in.Claim(t.Context(), second, event(1))
				answers <- answer{fresh, errors.Join(err, second.Rollback())}
			}()
			if dialect(db) == inbox.PostgreSQL {
				eventually(t, "the second claim to wait for a lock", func() bool {
					var waiting int
					err := db.GetContext(t.Context(), &waiting, `SELECT count(*) FROM pg_stat_activity
						WHERE datname = current_database() AND wait_event_type = 'Lock'`)
					return err == nil && waiting == 1
				})
			}
			if err := c.end(first); err != nil {
				t.Fatal(err)
			}
			if got := <-answers; got.err != nil || got.fresh != c.fresh {
				t.Errorf("%s: fresh %t, %v; want %t", c.what, got.fresh, got.err, c.fresh)
			}
		}
	})
}

func TestClaimRefusesIDs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		tx := db.MustBegin()
		defer tx.Rollback()
		for what, id := range map[string]string{
			"is empty": "", "256 bytes": strings.Repeat("x", 256), "NUL": "a\x00b", "UTF-8": "a\xffb",
		} {
			msg := event(1)
			msg.ID = id
			_, err := in.Claim(t.Context(), tx, msg)
			if !errors.Is(err, inbox.ErrInvalidMessage) || !strings.Contains(err.Error(), "ID: ") || !strings.Contains(err.Error(), what) {
				t.Errorf("id %q: %v, want ErrInvalidMessage that says %q", id, err, what)
			}
			if _, err := in.Once(t.Context(), msg, func(context.Context, inbox.Tx) error { return nil }); !errors.Is(err, inbox.ErrInvalidMessage) {
				t.Errorf("id %q: Once: %v, want ErrInvalidMessage", id, err)
			}
		}
	})
}

// Fields that only inform never prevent a message from being stored.
func TestClaimStoresOddTextsAndTimes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, url string) {
		in, db := newInbox(t, url)
		for i, change := range []func(*inbox.Message){
			func(m *inbox.Message) { m.ID = strings.Repeat("ü", 127) + "x" },
			func(m *inbox.Message) { m.ID = `a"b\c'; DROP TABLE effects; --</script>` },
			func(m *inbox.Message) { m.Topic, m.CorrelationID = "a\x00b\xff", "c\x00d\xff" },
			func(m *inbox.Message) { m.OccurredAt = time.Time{} },
			func(m *inbox.Message) { m.OccurredAt = time.Unix(1<<50, 0) },
			func(m *inbox.Message) { m.OccurredAt = time.Unix(-1<<50, 0) },
			func(m *inbox.Message) { m.Payload = nil },
			func(m *inbox.Message) { m.Payload = make([]byte, 1<<20) },
		} {
			msg := event(i)
			change(&msg)
			inboxtest.DeliverTwice(t, in, record, msg)
			if _, err := in.Get(t.Context(), msg.ID); err != nil {
				t.Errorf("case %d: %v", i, err)
			}
		}
		inboxtest.RequireCount(t, db, 8, `SELECT count(*) FROM effects`)
	})
}

func TestNewNamesEveryProblem(t *testing.T) {
	db := sqlx.NewDb(nil, "oracle")
	for want, make := range map[string]func() (*inbox.Inbox, error){
		"db is nil":           func() (*inbox.Inbox, error) { return inbox.New(nil, "x") },
		"consumer: is empty":  func() (*inbox.Inbox, error) { return inbox.New(db, "") },
		"consumer: 256 bytes": func() (*inbox.Inbox, error) { return inbox.New(db, strings.Repeat("x", 256)) },
		"WithDialect":         func() (*inbox.Inbox, error) { return inbox.New(db, "x") },
		`dialect "oracle"`:    func() (*inbox.Inbox, error) { return inbox.New(db, "x", inbox.WithDialect("oracle")) },
		"WithStatementTimeout": func() (*inbox.Inbox, error) {
			return inbox.New(db, "x", inbox.WithDialect(inbox.PostgreSQL), inbox.WithStatementTimeout(-1))
		},
	} {
		if _, err := make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
