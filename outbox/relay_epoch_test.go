package outbox

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// withoutSweep are settings under which nothing is found behind a cursor but by
// starting over.
func withoutSweep() RelayConfig {
	cfg := patient()
	cfg.LeaseTTL = 2 * time.Second
	return cfg
}

// requireBehind publishes messages until the cursors of relay are far, changes the
// database, and requires that what is committed then goes out, although it lies
// behind them.
func requireBehind(t *testing.T, ob *Outbox, b *broker, relay *Relay, change func()) {
	t.Helper()
	goFar(t, ob, b, relay)
	change()
	requireOut(t, ob, b)
}

// goFar publishes messages until the cursors of relay are far.
func goFar(t *testing.T, ob *Outbox, b *broker, relay *Relay) {
	t.Helper()
	var before []Message
	for i := range 200 {
		before = append(before, NewMessage(fmt.Sprint("before.", i), nil))
	}
	enqueue(t, ob, before...)
	passCursors(t, ob, relay)
	eventually(t, "what was there to be published", func() bool { return b.count() >= 201 })
}

// requireOut requires that messages go out, in the order of their keys.
func requireOut(t *testing.T, ob *Outbox, b *broker) {
	t.Helper()
	var after []Message
	for _, key := range []string{"a", "b", "c"} {
		after = append(after, keyed(key, 10)...)
	}
	enqueue(t, ob, after...)
	eventually(t, "what was committed afterwards to be published", func() bool {
		for _, key := range []string{"a", "b", "c"} {
			if len(keysTopics(b, key)) < 10 {
				return false
			}
		}
		return true
	})
	for _, key := range []string{"a", "b", "c"} {
		wantTopics(t, firsts(keysTopics(b, key)), topicsOf(key, 10))
	}
}

// firsts leaves out what was there before: copies.
func firsts(topics []string) (first []string) {
	seen := make(map[string]bool)
	for _, topic := range topics {
		if !seen[topic] {
			first = append(first, topic)
		}
		seen[topic] = true
	}
	return first
}

// What is committed to a database that has gone back, in whatever way, lies
// behind the cursors and goes out all the same, without a sweep.
func TestRelayForgetsPositionsOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	restart := map[sqldb.Dialect]string{
		sqldb.PostgreSQL: `SELECT setval(pg_get_serial_sequence('outbox_messages', 'seq'), 1, false)`,
		sqldb.SQLite:     `UPDATE sqlite_sequence SET seq = 0 WHERE name = 'outbox_messages'`,
	}
	for _, c := range []struct {
		name    string
		only    sqldb.Dialect
		change  func(t *testing.T, db *sqlx.DB)
		because string
	}{
		{"everything truncated", sqldb.PostgreSQL, func(t *testing.T, db *sqlx.DB) {
			db.MustExec(`TRUNCATE outbox_messages, outbox_leases, outbox_relays RESTART IDENTITY`)
		}, ""},
		{"messages truncated", sqldb.PostgreSQL, func(t *testing.T, db *sqlx.DB) {
			db.MustExec(`TRUNCATE outbox_messages RESTART IDENTITY`)
		}, "truncated, restored or made anew"},
		{"deleted, and numbered from one again", "", func(t *testing.T, db *sqlx.DB) {
			commitStatements(t, db, `DELETE FROM outbox_messages`, restart[dialectOf(db)])
		}, "now only up to"},
		{"numbered from one again by ALTER TABLE", sqldb.PostgreSQL, func(t *testing.T, db *sqlx.DB) {
			commitStatements(t, db, `LOCK TABLE outbox_messages`, `DELETE FROM outbox_messages`, `ALTER TABLE outbox_messages ALTER COLUMN seq RESTART`)
		}, "now only up to"},
		{"dropped and migrated", "", func(t *testing.T, db *sqlx.DB) {
			commitStatements(t, db, `DROP TABLE outbox_messages`, `DROP TABLE outbox_leases`, `DROP TABLE outbox_relays`, `DROP TABLE outbox_schema`, `DROP TABLE outbox_audit`, `DROP TABLE outbox_pauses`)
			if _, err := outboxOf(t, db).Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"moved to a table made anew", sqldb.PostgreSQL, func(t *testing.T, db *sqlx.DB) {
			db.MustExec(`VACUUM FULL outbox_messages`)
		}, "made anew"},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachDatabase(t, func(t *testing.T, d database) {
				if c.only != "" && c.only != d.dialect {
					return
				}
				ob, db := d.newOutbox(t)
				var log logBuffer
				b := &broker{}
				cfg := withoutSweep()
				cfg.Logger = log.logger()
				relay := newRelay(t, ob, b, cfg)
				start(t, relay)
				requireBehind(t, ob, b, relay, func() { c.change(t, db) })
				if n := relay.Health().Resets; n == 0 {
					t.Error("health counts no reset")
				}
				if got := log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, c.because) {
					t.Errorf("the log says nothing of %q:\n%s", c.because, got)
				}
			})
		})
	}
}

// commitStatements runs statements in one transaction.
func commitStatements(t *testing.T, db *sqlx.DB, statements ...string) {
	t.Helper()
	tx := db.MustBegin()
	defer tx.Rollback()
	for _, s := range statements {
		tx.MustExec(s)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// A backup is put in the place of the database, under the name that the relay
// connects to, as by a restore or a switch to another cluster.
func TestRelayNoticesAnOlderDatabase(t *testing.T) {
	t.Parallel()
	elsewhere := testenv.Postgres(t)
	admin := postgres.connect(t, elsewhere)
	server := postgres.create(t)
	name := strings.SplitN(server[strings.LastIndex(server, "/")+1:], "?", 2)[0]
	backup, away := name[:min(len(name), 50)]+"_backup", name[:min(len(name), 50)]+"_away"
	t.Cleanup(func() { admin.MustExec(`DROP DATABASE IF EXISTS ` + away + ` WITH (FORCE)`) })
	db := postgres.connect(t, server)
	ob := outboxOf(t, db)
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	b := &broker{}
	relay := newRelay(t, ob, b, withoutSweep())
	stop := start(t, relay)
	first := keyed("early", 5)
	enqueue(t, ob, first...)
	awaitStatus(t, ob, Published, first...)
	stop() // for a moment: a database that is being copied has no sessions
	cut := func(of string) {
		testenv.EndSessions(t, elsewhere, `datname = '`+of+`'`)
		db.SetMaxIdleConns(0) // the test's own statements meet none that is dead
		db.SetMaxIdleConns(8)
	}
	cut(name)
	admin.MustExec(`CREATE DATABASE ` + backup + ` TEMPLATE ` + name)
	start(t, relay)
	requireBehind(t, ob, b, relay, func() {
		admin.MustExec(`ALTER DATABASE ` + name + ` ALLOW_CONNECTIONS false`)
		cut(name)
		admin.MustExec(`ALTER DATABASE ` + name + ` RENAME TO ` + away)
		admin.MustExec(`ALTER DATABASE ` + backup + ` RENAME TO ` + name)
		eventually(t, "a connection to the other database", func() bool {
			var n int
			return db.Get(&n, `SELECT count(*) FROM outbox_messages`) == nil && n == 5
		})
	})
	if n := relay.Health().Resets; n == 0 {
		t.Error("health counts no reset")
	}
}

// A message is on its way when the database goes back, and its number is given
// to another: the verdict on the first says nothing of the second.
func TestRelayStoresNoVerdictOnAnotherMessage(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		for name, verdict := range map[string]func(*call){
			"published": (*call).accept,
			"refused":   func(c *call) { c.refuse(Rejected(nil)) },
			"dead":      func(c *call) { c.refuse(Permanent(nil)) },
		} {
			for _, retention := range []time.Duration{DefaultRetention, DeleteOnPublish} {
				t.Run(fmt.Sprint(name, " ", retention), func(t *testing.T) {
					ob, db := d.newOutbox(t)
					s := newStage()
					cfg := withoutSweep()
					cfg.Retention = retention
					relay := newRelay(t, ob, s, cfg)
					start(t, relay)
					lost := keyed("k", 1)[0]
					enqueue(t, ob, lost)
					call := s.next(t)
					tx := db.MustBegin()
					defer tx.Rollback()
					tx.MustExec(`DELETE FROM outbox_messages`)
					if d.dialect == sqldb.PostgreSQL {
						tx.MustExec(`SELECT setval(pg_get_serial_sequence('outbox_messages', 'seq'), 1, false)`)
					} else {
						tx.MustExec(`UPDATE sqlite_sequence SET seq = 0 WHERE name = 'outbox_messages'`)
					}
					next := lost
					next.ID, next.Topic = NewMessage("", nil).ID, "next"
					if err := ob.Enqueue(t.Context(), tx, next); err != nil {
						t.Fatal(err)
					}
					if err := tx.Commit(); err != nil {
						t.Fatal(err)
					}
					verdict(call)
					eventually(t, "the verdict to be refused", func() bool { return relay.Health().Fenced == 1 })
					if r := record(t, ob, next); r.Status != Pending || r.Attempts != 0 {
						t.Errorf("%+v", r)
					}
					if c := s.next(t); len(c.msgs) != 1 || c.msgs[0].ID != next.ID {
						t.Errorf("handed over: %v", c.msgs)
					} else {
						c.accept()
					}
				})
			}
		}
	})
}

// A database that has gone back hands out no token that was in use before.
func TestRelayNeverReusesTokens(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		seen := make(map[string]bool)
		for range 3 {
			relay := newRelay(t, ob, &broker{}, eager())
			stop := start(t, relay)
			awaitLeases(t, map[*Relay]int{relay: 64})
			var tokens []string
			if err := db.Select(&tokens, `SELECT bucket || ' ' || token FROM outbox_leases`); err != nil {
				t.Fatal(err)
			}
			for _, token := range tokens {
				if seen[token] {
					t.Fatalf("token %s was given before", token)
				}
				seen[token] = true
			}
			stop()
			db.MustExec(`UPDATE outbox_leases SET token = 0`)
		}
	})
}

// Of two connections one leads to an older database: what is read there is not
// sent, and the connection is given up.
func TestRelayRefusesAConnectionToAnotherDatabase(t *testing.T) {
	t.Parallel()
	s := &signs{}
	if !s.current(7) {
		t.Error("any sign will do before the first")
	}
	sent := time.Now()
	s.expect(1)
	if !s.readable(1, sent) {
		t.Error("a sign is refused that others may read before its commit returns")
	}
	s.stored(1)
	s.expect(2)
	s.stored(2)
	for sign, want := range map[int64]bool{1: true, 2: true, 3: false, 0: true} {
		if got := s.readable(sign, sent); got != want {
			t.Errorf("sign %d, as of before both: %v", sign, got)
		}
	}
	if later := time.Now(); s.readable(1, later) || !s.readable(2, later) {
		t.Error("a statement that was sent later sees the newer sign")
	}
	s.expect(3)
	for sign, want := range map[int64]bool{1: false, 2: true, 3: true} {
		if got := s.current(sign); got != want {
			t.Errorf("sign %d: %v; the last may be there, or not", sign, got)
		}
	}
	if sqldb.Judge(errElsewhere) != sqldb.Lost {
		t.Error("the connection is kept")
	}
	s.adopt(9)
	if !s.current(9) || s.current(3) || !s.readable(9, time.Now()) {
		t.Error("not adopted")
	}
}

// Whatever we have not thought of: what lies below a floor goes out with the
// next full sweep.
func TestRelaySweepsBelowFloors(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		b := &broker{}
		relay := newRelay(t, ob, b, patient())
		start(t, relay)
		m, late := NewMessage("m", nil), NewMessage("late", nil)
		late.AvailableAt = databaseClock(t, ob).Add(time.Hour)
		enqueue(t, ob, m, late)
		awaitStatus(t, ob, Published, m)
		other := passCursors(t, ob, relay)
		awaitStatus(t, ob, Published, other)
		// Lanes that read would find it as well, once the end of a long transaction, in
		// whichever database, has taken their cursors back.
		pause(t, ob, "")
		eventually(t, "the lanes to stop", func() bool { return relay.pauses.now().all })
		seq := record(t, ob, m).Seq
		floors := make(map[lease]int64)
		for _, l := range relay.lanes {
			l.mu.Lock()
			for _, b := range l.buckets {
				b.position.Cursor = max(b.position.Cursor, seq) // or back already
				floors[b.lease] = b.position.Cursor
			}
			l.mu.Unlock()
		}
		offer := func() {
			if err := relay.sweep(t.Context(), maps.Clone(floors), relay.generations.now()); err != nil {
				t.Fatal(err)
			}
		}
		offered := func() (seqs []int64) {
			offer()
			for _, l := range relay.lanes {
				seqs = append(seqs, l.takeStrays()...)
			}
			return seqs
		}
		db.MustExec(`UPDATE outbox_messages SET status = 'pending', published_at = NULL WHERE topic = 'm'`)
		if seqs := offered(); len(seqs) > 0 {
			t.Fatalf("rows %v: the floors hide nothing, and the test proves nothing", seqs)
		}
		clear(floors)
		if seqs := offered(); !slices.Equal(seqs, []int64{seq}) {
			t.Fatalf("rows %v, want m's", seqs)
		}
		resume(t, ob, "")
		eventually(t, "it to be sent again", func() bool { // a turn that is given up loses what it was offered
			offer()
			return b.triesOf(m) == 2
		})
	})
}
