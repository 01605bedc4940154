package outbox

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// fill stores n messages in plain SQL, one a second up to now, each settled when it was made.
func fill(t testing.TB, db *sqlx.DB, n int, status Status) {
	t.Helper()
	column, bucket, at := ``, ``, `clock_timestamp() - ($1 - i) * interval '1 second'`
	if dialectOf(db) == sqldb.SQLite {
		column, bucket, at = `, bucket`, `, i % 1000 % 64`, `strftime('%Y-%m-%d %H:%M:%f000', 'now', format('-%d seconds', $1 - i))`
	}
	_, err := db.ExecContext(t.Context(), `
		WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < CAST($1 AS integer))
		INSERT INTO outbox_messages (topic, type, key, payload, status, attempts, created_at, available_at, published_at, discarded_at`+column+`)
		SELECT 't', 'T', 'k' || (i % 1000), 'x', CAST($2 AS text), CASE WHEN $2 = 'dead' THEN 1 ELSE 0 END, at, at,
		       CASE WHEN $2 = 'published' THEN at END, CASE WHEN $2 = 'discarded' THEN at END`+bucket+`
		FROM (SELECT i, `+at+` AS at FROM numbers) AS s`, n, status)
	if err != nil {
		t.Fatal(err)
	}
}

func TestPurgeKeepsRecentAndUnfinished(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		for _, s := range Statuses() {
			put(t, ob, Message{Topic: "old " + string(s)}, s, 1)
			put(t, ob, Message{Topic: "late " + string(s)}, s, 1)
		}
		// All were enqueued eight days ago; some were settled a moment ago.
		db.MustExec(`UPDATE outbox_messages SET created_at = ` + clock(db, "-8 days"))
		db.MustExec(`UPDATE outbox_messages SET published_at = created_at WHERE topic = 'old published'`)
		db.MustExec(`UPDATE outbox_messages SET discarded_at = created_at WHERE topic = 'old discarded'`)

		n, err := ob.Purge(t.Context(), 7*24*time.Hour)
		page, listErr := ob.List(t.Context(), ListQuery{OldestFirst: true})
		if n != 2 || err != nil || listErr != nil {
			t.Fatalf("%d deleted, %v, %v", n, err, listErr)
		}
		want := []string{"old pending", "late pending", "late published", "old dead", "late dead", "late discarded"}
		if got := topics(page.Records); !slices.Equal(got, want) {
			t.Errorf("left %q, want %q", got, want)
		}
		if _, err := ob.Purge(t.Context(), -time.Second); err == nil || !strings.Contains(err.Error(), "olderThan: -1s") {
			t.Errorf("negative age: %v", err)
		}
	})
}

// Purges of several relays at once delete every old row, each of them once,
// and go past rows that stay.
func TestPurgeConcurrently(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		fill(t, db, 2*purgeChunk, "pending")
		fill(t, db, 3*purgeChunk+1, "published")
		fill(t, db, 10, "discarded")
		var wg sync.WaitGroup
		deleted := make([]int64, 3)
		for i := range deleted {
			wg.Go(func() {
				n, err := ob.Purge(t.Context(), 0)
				if err != nil {
					t.Error(err)
				}
				deleted[i] = n
			})
		}
		wg.Wait()
		// What one has locked the others skip, so that together they leave nothing.
		if sum := deleted[0] + deleted[1] + deleted[2]; sum != 3*purgeChunk+11 {
			t.Errorf("%v deleted, want %d together", deleted, 3*purgeChunk+11)
		}
		if n, more, err := ob.Count(t.Context(), ListQuery{}, 2*purgeChunk); n != 2*purgeChunk || more || err != nil {
			t.Errorf("%d left, more %v, %v; want the pending ones", n, more, err)
		}
	})
}

func TestPurgeKeepsProgressWhenContextEnds(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		fill(t, db, 10, "published")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if n, err := ob.Purge(ctx, 0); n != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("%d, %v; want context.Canceled", n, err)
		}
	})
}

// A purge that fails is tried again long before the next is due: health does not tell
// of what is over.
func TestRelayTriesAFailedPurgeAgainSoon(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		fill(t, db, 5, "published")
		refuse, allow := `CREATE TRIGGER refuse BEFORE DELETE ON outbox_messages BEGIN SELECT RAISE(ABORT, 'refused'); END`, `DROP TRIGGER refuse`
		if d.dialect == postgres.dialect {
			refuse = `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
				CREATE TRIGGER refuse BEFORE DELETE ON outbox_messages FOR EACH ROW EXECUTE FUNCTION refuse()`
			allow = `DROP TRIGGER refuse ON outbox_messages`
		}
		db.MustExec(refuse)
		cfg := eager()
		cfg.Retention = KeepForever // but for what follows
		relay := newRelay(t, ob, &broker{}, cfg)
		start(t, relay)
		awaitLeases(t, map[*Relay]int{relay: buckets})
		ctx, stop := context.WithCancel(t.Context())
		var purges sync.WaitGroup
		purges.Go(func() {
			relay.every(ctx, partPurge, time.Hour, (&purging{relay: relay, retention: time.Millisecond}).round)
		})
		defer purges.Wait()
		defer stop()
		eventually(t, "the purge to fail", func() bool {
			h := relay.Health()
			return h.State == RelayDegraded && strings.HasPrefix(h.LastError.Error(), "purge: ") && strings.Contains(h.LastError.Error(), "refused")
		})
		db.MustExec(allow)
		eventually(t, "the relay to recover", func() bool { return relay.Health().State == RelayRunning })
		if n := number(t, db, `SELECT count(*) FROM outbox_messages`); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// A purge tells for how long the oldest row has been left that it could not delete,
// and deletes what was settled at no time that can be subtracted.
func TestPurgeTellsWhatIsOverdue(t *testing.T) {
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		fill(t, db, 5, "published")
		db.MustExec(`UPDATE outbox_messages SET created_at = ` + clock(db, "-8 days"))
		db.MustExec(`UPDATE outbox_messages SET published_at = created_at WHERE seq > 2`)
		refused := errors.New("refused")
		p, err := ob.purge(t.Context(), 7*24*time.Hour, func(ctx context.Context, do func(context.Context, *sqldb.Tx) error) error {
			return ob.store.Write(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return errors.Join(do(ctx, tx), refused) })
		}, nil)
		if p.overdue < 23*time.Hour || p.overdue > 25*time.Hour || !errors.Is(err, refused) {
			t.Errorf("%+v, %v; want a day", p, err)
		}
		if d.dialect == postgres.dialect {
			db.MustExec(`UPDATE outbox_messages SET published_at = '-infinity' WHERE seq = 1`)
		} else {
			db.MustExec(`UPDATE outbox_messages SET published_at = '0000-01-01 00:00:00.000000' WHERE seq = 1`)
		}
		p, err = ob.purge(t.Context(), 7*24*time.Hour, ob.store.Write, nil)
		if p != (purged{deleted: 4}) || err != nil {
			t.Errorf("%+v, %v; want four rows deleted", p, err)
		}
	})
}
