package outbox

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/sqldb"
)

// nullPublisher takes everything at once: what is left is the cost of reading
// and writing back.
type nullPublisher struct{}

func (nullPublisher) Publish(_ context.Context, msgs []Message) []error {
	return make([]error, len(msgs))
}

// BenchmarkRelay drains a backlog into a publisher that costs nothing: the
// ceiling that database and relay set. One op is one message.
//
//	go test -run '^$' -bench Relay -benchtime 50000x ./outbox
func BenchmarkRelay(b *testing.B) {
	for _, lanes := range []int{1, 2, 4, 8} {
		for _, size := range []int{200, 500, 1000} {
			b.Run(fmt.Sprintf("lanes=%d/batch=%d", lanes, size), func(b *testing.B) {
				benchmarkDrain(b, postgres, RelayConfig{Lanes: lanes, BatchSize: size}, 0)
			})
		}
	}
	for _, keys := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) { benchmarkDrain(b, postgres, RelayConfig{}, keys) })
	}
	// Somebody's report keeps every row that is published in the index, as dead.
	b.Run("old snapshot", func(b *testing.B) {
		benchmarkDrain(b, postgres, RelayConfig{}, 0, func(db *sqlx.DB) {
			tx := db.MustBeginTx(b.Context(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
			tx.MustExec(`SELECT count(*) FROM outbox_messages`)
			b.Cleanup(func() { tx.Rollback() })
		})
	})
	b.Run("delete", func(b *testing.B) { benchmarkDrain(b, postgres, RelayConfig{Retention: DeleteOnPublish}, 0) })
	for _, lanes := range []int{1, 4} {
		b.Run(fmt.Sprintf("sqlite/lanes=%d", lanes), func(b *testing.B) { benchmarkDrain(b, file, RelayConfig{Lanes: lanes}, 1000) })
	}
}

func benchmarkDrain(b *testing.B, d database, cfg RelayConfig, keys int, prepare ...func(*sqlx.DB)) {
	ob, db := d.newOutbox(b)
	db.SetMaxIdleConns(16)
	backlog(b, db, b.N, keys)
	for _, do := range prepare {
		do(db)
	}
	relay := newRelay(b, ob, nullPublisher{}, cfg)
	b.ResetTimer()
	stop := start(b, relay)
	for relay.Health().Published < int64(b.N) {
		select {
		case <-time.After(time.Millisecond):
		case <-b.Context().Done():
			b.Fatal("interrupted")
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	stop()
}

// backlog writes n messages of 512 bytes: without a key where keys is 0, else of
// that many keys in turn.
func backlog(t testing.TB, db *sqlx.DB, n, keys int) {
	t.Helper()
	column, bucket, before := ``, ``, clock(db, "-1 minute")
	if dialectOf(db) == sqldb.SQLite {
		column, bucket = `, bucket`, `, i % CASE WHEN $2 = 0 THEN 64 ELSE $2 END % 64`
	}
	_, err := db.Exec(`
		WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < CAST($1 AS integer))
		INSERT INTO outbox_messages (topic, type, key, payload, created_at, available_at`+column+`)
		SELECT 'order.created', 'OrderCreated', CASE WHEN $2 = 0 THEN '' ELSE 'key-' || (i % CASE WHEN $2 = 0 THEN 1 ELSE $2 END) END, $3,
		       `+before+`, `+before+bucket+`
		FROM numbers`, n, keys, bytes.Repeat([]byte("x"), 512))
	if err != nil {
		t.Fatal(err)
	}
}
