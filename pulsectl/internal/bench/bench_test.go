package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/database"
	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// small returns measurements of a few messages, on either kind of servers.
func small(t *testing.T) map[string]Config {
	t.Helper()
	file := func() string { return sqlite.URL(filepath.Join(t.TempDir(), "given.db")) }
	c := Config{Messages: 200, Rounds: 1, Bytes: 64, Rate: 100, Duration: 200 * time.Millisecond}
	embedded, services, hot := c, c, c
	embedded.Database, embedded.Broker = file(), devbroker.NewTest(t).URL()
	services.Database, services.Broker, services.Wake = testenv.Postgres(t), testenv.RabbitMQ(t), ByNotify
	hot.Database, hot.Broker, hot.Keys, hot.Delete, hot.QueueType = file(), embedded.Broker, 1, true, inboxrabbit.Classic
	hot.Wake = ByPolling
	return map[string]Config{"embedded": embedded, "services": services, "hot key": hot}
}

// left returns what measurements left in a database.
func left(t *testing.T, url string) []string {
	t.Helper()
	if path := sqlite.Path(url); sqlite.IsURL(url) {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "pulse_bench*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	db := open(t, url)
	var schemas []string
	if err := db.SelectContext(t.Context(), &schemas, `SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pulse_bench%'`); err != nil {
		t.Fatal(err)
	}
	return schemas
}

func open(t *testing.T, url string) *sqlx.DB {
	t.Helper()
	db, _, err := database.Open(url, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func positive(t *testing.T, what string, values ...float64) {
	t.Helper()
	for _, v := range values {
		if v <= 0 {
			t.Errorf("%s: %v, want only positive numbers", what, values)
		}
	}
}

// Every measurement does its work, says how fast, and leaves nothing behind.
func TestMeasurements(t *testing.T) {
	for name, c := range small(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay, err := MeasureRelay(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			positive(t, "relay", relay.Rate, relay.Ceiling, relay.Ratio, relay.Latency.Rate, relay.Latency.P50.Seconds(), relay.Latency.P99.Seconds())
			in, err := MeasureInbox(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			positive(t, "inbox", in.Rate, in.Single, in.Ceiling, in.Ratio, in.Speedup)
			if in.Deliveries != 200 || in.Duplicates != 20 {
				t.Errorf("inbox: %d deliveries with %d duplicates, want 200 with 20", in.Deliveries, in.Duplicates)
			}
			enqueue, err := MeasureEnqueue(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			positive(t, "enqueue", enqueue.Rate, enqueue.Bare, enqueue.Ratio, enqueue.Batch, enqueue.BatchCost)
			trip, err := MeasureRoundTrip(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			positive(t, "round trip", trip.Latency.Rate, trip.Latency.P50.Seconds(), trip.Latency.P99.Seconds())
			if trip.Latency.Messages != 20 {
				t.Errorf("round trip: %d messages, want 20", trip.Latency.Messages)
			}
			if found := left(t, c.Database); len(found) > 0 {
				t.Errorf("left behind: %v", found)
			}
		})
	}
}

// A measurement that is interrupted says so and leaves nothing behind.
func TestInterrupted(t *testing.T) {
	c := small(t)["embedded"]
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	stopped := errors.New("stopped by the test")
	c.Progress = func(what string) {
		if strings.Contains(what, "the relay") {
			cancel(stopped)
		}
	}
	if _, err := MeasureRelay(ctx, c); !errors.Is(err, stopped) && !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was stopped", err)
	}
	if found := left(t, c.Database); len(found) > 0 {
		t.Errorf("left behind: %v", found)
	}
	if _, err := os.Stat(sqlite.Path(c.Database)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the given database was touched: %v", err)
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, test := range []struct {
		values []float64
		share  float64
		want   float64
	}{
		{nil, 0.5, 0}, {[]float64{3}, 0.5, 3}, {[]float64{3}, 0.99, 3}, {[]float64{4, 2}, 0.5, 3}, {[]float64{9, 1, 5}, 0.5, 5}, {hundred, 0.99, 100}, {hundred, 0.9, 91},
	} {
		if got := quantile(test.values, test.share); got != test.want {
			t.Errorf("quantile(%v, %v) = %v, want %v", test.values, test.share, got, test.want)
		}
	}
}
