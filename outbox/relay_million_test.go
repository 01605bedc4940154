package outbox

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// conditions are those under which a backlog drains.
var conditions = []struct {
	name    string
	prepare func(t testing.TB, db *sqlx.DB)
	cfg     RelayConfig
}{
	{name: "calm"},
	// Somebody's report keeps every version of every row, in the table and its indexes.
	{name: "old snapshot", prepare: openSnapshot},
	// The planner takes the table for empty.
	{name: "without ANALYZE", prepare: func(t testing.TB, db *sqlx.DB) {
		db.MustExec(`ALTER TABLE outbox_messages SET (autovacuum_enabled = off)`)
		openSnapshot(t, db)
	}},
}

// openSnapshot opens a snapshot that ends with the test.
func openSnapshot(t testing.TB, db *sqlx.DB) {
	t.Helper()
	tx, err := db.BeginTxx(context.Background(), &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	tx.MustExec(`SELECT count(*) FROM outbox_messages`)
	t.Cleanup(func() { _ = tx.Rollback() })
}

// meter is a publisher that takes everything at once, and measures how fast.
type meter struct {
	mu          sync.Mutex
	first, last time.Time
	n, rest     int // rest: after the first call
}

func (m *meter) Publish(_ context.Context, msgs []Message) []error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = time.Now()
	if m.n += len(msgs); m.first.IsZero() {
		m.first = m.last
	} else {
		m.rest += len(msgs)
	}
	return make([]error, len(msgs))
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n
}

// rate is in messages per second, between the first call and the last.
func (m *meter) rate() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return float64(m.rest) / m.last.Sub(m.first).Seconds()
}

// drainAll drains n pending messages and returns what it has measured.
func drainAll(t testing.TB, ob *Outbox, db *sqlx.DB, n int, cfg RelayConfig) *meter {
	t.Helper()
	m := new(meter)
	relay := newRelay(t, ob, m, cfg)
	stop := start(t, relay)
	testenv.Eventually(t, 20*patience, "the backlog to be published", func() bool { return relay.Health().Published >= int64(n) })
	stop()
	if m.count() != n || number(t, db, `SELECT count(*) FROM outbox_messages WHERE status = 'pending'`) != 0 {
		t.Fatalf("%d messages were published, want %d", m.count(), n)
	}
	return m
}

// What a read touches, and so what a message costs, does not grow with the
// backlog nor with what has been published of it, although an old snapshot keeps
// every version of every row and the planner takes the table for empty.
func TestRelayReadsAlikeWhateverTheBacklog(t *testing.T) {
	t.Parallel()
	const small, large = 2_000, 20_000
	read := map[int]int{}
	for _, n := range []int{small, large} {
		ob, db := postgres.newOutbox(t)
		db.MustExec(`ALTER TABLE outbox_messages SET (autovacuum_enabled = off)`)
		openSnapshot(t, db)
		backlog(t, db, n, 1000)
		// Before the drain, halfway, and at its end: the cursors are then where the relay's would be.
		for _, part := range []int{0, n / 2, n - 200} {
			db.MustExec(`UPDATE outbox_messages SET status = 'published', published_at = now() WHERE seq <= $1 AND status = 'pending'`, part)
			read[n] = max(read[n], blocksOfRead(t, db, part))
		}
		drainAll(t, ob, db, 200, eager())
	}
	t.Logf("blocks of a read: %d with %d messages, %d with %d", read[small], small, read[large], large)
	if read[large] > 2*read[small] {
		t.Errorf("a read touches %d blocks with %d messages, and %d with %d", read[small], small, read[large], large)
	}
}

// blocksOfRead returns how many blocks of the database the relay's read of all
// buckets touches, behind a cursor.
func blocksOfRead(t *testing.T, db *sqlx.DB, cursor int) (blocks int) {
	t.Helper()
	db.MustExec(`UPDATE outbox_leases SET token = 1`)
	var asked []string
	for bucket := range 64 {
		asked = append(asked, fmt.Sprintf(`{"place":%d,"bucket":%[1]d,"token":1,"cursor":%d,"interventions":0}`, bucket, cursor))
	}
	tx := db.MustBegin()
	defer tx.Rollback()
	for _, setting := range []string{`enable_seqscan = off`, `jit = off`, `plan_cache_mode = force_generic_plan`} {
		tx.MustExec(`SET LOCAL ` + setting)
	}
	tx.MustExec(`PREPARE lane_read AS ` + queryOf(db, "lane_read"))
	defer tx.Exec(`DEALLOCATE lane_read`)
	explain := fmt.Sprintf(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE lane_read('[%s]', '[]', 8, 200, '[]', 0, 'owner', 2000000, 1000000)`,
		strings.Join(asked, ","))
	var plan []byte
	if err := tx.Get(&plan, explain); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"Hit", "Read"} {
		var n int
		if err := tx.Get(&n, `SELECT ($1::jsonb -> 0 -> 'Plan' ->> 'Shared `+kind+` Blocks')::int`, string(plan)); err != nil {
			t.Fatal(err)
		}
		blocks += n
	}
	return blocks
}

// BenchmarkMillion drains a million pending messages, and ten thousand before
// and after, under several conditions: their rates should be alike. The
// publisher takes everything at once, so that the database alone limits them.
//
//	make bench PKG=./outbox BENCH=Million
func BenchmarkMillion(b *testing.B) {
	const few, many, turns = 10_000, 1_000_000, 3
	for _, c := range conditions {
		b.Run(c.name, func(b *testing.B) { benchmarkMillion(b, few, many, turns, c.cfg, c.prepare) })
	}
	// A million messages that have been published for long are deleted meanwhile.
	b.Run("purge", func(b *testing.B) {
		benchmarkMillion(b, few, many, turns, RelayConfig{Retention: time.Hour, PurgeInterval: 10 * time.Millisecond}, func(t testing.TB, db *sqlx.DB) {
			manyRows(t, db, many, `'published', now() - interval '2 hours', now() - interval '1 day'`)
		})
	})
}

func benchmarkMillion(b *testing.B, few, many, turns int, cfg RelayConfig, prepare func(testing.TB, *sqlx.DB)) {
	for b.Loop() {
		var short []float64
		measure := func(n int, prepare func(testing.TB, *sqlx.DB)) float64 {
			ob, db := postgres.newOutbox(b)
			defer db.Close()
			db.SetMaxIdleConns(16)
			if prepare != nil {
				prepare(b, db)
			}
			manyRows(b, db, n, `'pending', NULL, now()`)
			return drainAll(b, ob, db, n, cfg).rate()
		}
		for range turns {
			short = append(short, measure(few, nil))
		}
		long := measure(many, prepare)
		for range turns {
			short = append(short, measure(few, nil))
		}
		slices.Sort(short)
		median := short[len(short)/2]
		b.Logf("%d: %.0f messages/s; %d: %.0f messages/s", many, long, few, short)
		b.ReportMetric(long, "many-msgs/s")
		b.ReportMetric(median, "few-msgs/s")
		b.ReportMetric(long/median, "many/few")
		b.ReportMetric(0, "ns/op")
	}
}

// manyRows writes n messages of 200 bytes, each with a key of its own. as are
// values of status, published_at and created_at.
func manyRows(t testing.TB, db *sqlx.DB, n int, as string) {
	t.Helper()
	const chunk = 100_000
	for from := 0; from < n; from += chunk {
		if _, err := db.Exec(`
			INSERT INTO outbox_messages (topic, type, key, payload, status, published_at, created_at, available_at)
			SELECT 'order.created', 'OrderCreated', 'key-' || i, $3, `+as+`, now() - interval '2 days'
			FROM generate_series($1::integer, $2::integer) AS i`, from+1, min(n, from+chunk), bytes.Repeat([]byte("x"), 200)); err != nil {
			t.Fatal(err)
		}
	}
}
