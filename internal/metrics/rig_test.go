package metrics_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	amqp "github.com/rabbitmq/amqp091-go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait of a test.
const patience = 3 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// meters is a provider whose metrics a test reads.
type meters struct {
	metric.MeterProvider
	reader *sdkmetric.ManualReader
}

func newMeters(t *testing.T) *meters {
	t.Helper()
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	return &meters{provider, reader}
}

// collect returns all metrics by name; both libraries may have one of a name.
func (m *meters) collect(t *testing.T) map[string][]metricdata.Metrics {
	t.Helper()
	var found metricdata.ResourceMetrics
	if err := m.reader.Collect(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]metricdata.Metrics)
	for _, scope := range found.ScopeMetrics {
		if !strings.HasPrefix(scope.Scope.Name, "github.com/asimalizada/pulse-events/") || scope.Scope.SchemaURL == "" {
			t.Errorf("scope %q of schema %q", scope.Scope.Name, scope.Scope.SchemaURL)
		}
		for _, each := range scope.Metrics {
			all[each.Name] = append(all[each.Name], each)
		}
	}
	return all
}

// point is a value with its attributes. Of a histogram it is the number of values,
// and their sum.
type point struct {
	attributes attribute.Set
	value, sum float64
}

// points returns all series of a name.
func points(found []metricdata.Metrics) (ps []point) {
	for _, each := range found {
		ps = append(ps, pointsOf(each.Data)...)
	}
	return ps
}

func pointsOf(data metricdata.Aggregation) (ps []point) {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			ps = append(ps, point{p.Attributes, float64(p.Value), 0})
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			ps = append(ps, point{p.Attributes, float64(p.Value), 0})
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			ps = append(ps, point{p.Attributes, p.Value, 0})
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			ps = append(ps, point{p.Attributes, float64(p.Count), p.Sum})
		}
	case metricdata.Histogram[int64]:
		for _, p := range d.DataPoints {
			ps = append(ps, point{p.Attributes, float64(p.Count), float64(p.Sum)})
		}
	}
	return ps
}

// series returns all that was collected, a line for each series: its name,
// attributes and value.
func (m *meters) series(t *testing.T, names ...string) map[string]float64 {
	t.Helper()
	found := make(map[string]float64)
	for name, each := range m.collect(t) {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		for _, p := range points(each) {
			found[line(name, p.attributes)] = p.value
		}
	}
	return found
}

// line is a series as Prometheus would write it.
func line(name string, attributes attribute.Set) string {
	var pairs []string
	for _, kv := range attributes.ToSlice() {
		pairs = append(pairs, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
	}
	if len(pairs) == 0 {
		return name
	}
	return name + "{" + strings.Join(pairs, ",") + "}"
}

// await waits for the series to have these values; others may be there as well.
func (m *meters) await(t *testing.T, want map[string]float64) {
	t.Helper()
	var found map[string]float64
	defer func() {
		if t.Failed() {
			t.Logf("there is %v", found)
		}
	}()
	testenv.Eventually(t, patience, fmt.Sprint(want), func() bool {
		found = m.series(t)
		for series, value := range want {
			if v, ok := found[series]; !ok || v != value {
				return false
			}
		}
		return true
	})
}

// newOutbox returns an outbox in a new SQLite file, on a handle of its own.
func newOutbox(t *testing.T) (*outbox.Outbox, *sqlx.DB) {
	t.Helper()
	return openOutbox(t, filepath.Join(t.TempDir(), "outbox.db"))
}

func openOutbox(t *testing.T, path string) (*outbox.Outbox, *sqlx.DB) {
	t.Helper()
	db, err := sqlite.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	ob, err := outbox.New(db)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ob.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ob, db
}

func enqueue(t *testing.T, ob *outbox.Outbox, db *sqlx.DB, topics ...string) {
	t.Helper()
	tx := db.MustBegin()
	defer tx.Rollback()
	for _, topic := range topics {
		if err := ob.Enqueue(t.Context(), tx, outbox.NewMessage(topic, []byte("{}"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}

// bind makes a queue that takes a topic of the exchange.
func bind(t *testing.T, url, topic string) {
	t.Helper()
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("pulse.events", amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare(topic, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind(topic, topic, "pulse.events", false, nil); err != nil {
		t.Fatal(err)
	}
}

// run runs something until the function returned is called, or the test ends.
func run(t *testing.T, something func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- something(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}
