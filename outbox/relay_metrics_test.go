package outbox

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// lags keeps what is recorded as lag. (The SDK's provider would be in the go.sum of
// every user; internal/metrics tests with it.)
type lags struct {
	noop.MeterProvider
	mu      sync.Mutex
	seconds []float64
}

type (
	lagMeter struct {
		noop.Meter
		to *lags
	}
	lagHistogram struct {
		noop.Float64Histogram
		to *lags
	}
	listening struct{ noop.Int64Counter }
)

func (l *lags) Meter(string, ...metric.MeterOption) metric.Meter { return lagMeter{to: l} }

func (m lagMeter) Float64Histogram(name string, _ ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	if name == "pulse.outbox.lag" {
		return lagHistogram{to: m.to}, nil
	}
	return noop.Float64Histogram{}, nil
}

func (lagMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return listening{}, nil
}

func (listening) Enabled(context.Context) bool { return true }

func (h lagHistogram) Record(_ context.Context, seconds float64, _ ...metric.RecordOption) {
	h.to.mu.Lock()
	defer h.to.mu.Unlock()
	h.to.seconds = append(h.to.seconds, seconds)
}

func (l *lags) sorted() []float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(slices.Values(l.seconds))
}

// The lag runs by the database's clock from when a message was written, or became due
// if it was delayed, whatever a producer in plain SQL has put into the columns.
func TestRelayMeasuresTheLag(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, d database) {
		ob, db := d.newOutbox(t)
		for range 5 {
			enqueue(t, ob, Message{Topic: "t"})
		}
		db.MustExec(`UPDATE outbox_messages SET created_at = ` + clock(db, "-100 minutes") + ` WHERE seq <= 4`)
		db.MustExec(`UPDATE outbox_messages SET available_at = created_at WHERE seq <= 4`)
		db.MustExec(`UPDATE outbox_messages SET available_at = ` + clock(db, "-10 minutes") + ` WHERE seq = 2`)              // delayed
		db.MustExec(`UPDATE outbox_messages SET attempts = 3, available_at = ` + clock(db, "-1 minutes") + ` WHERE seq = 3`) // retried
		never := `'infinity'`
		if d.dialect == postgres.dialect {
			db.MustExec(`UPDATE outbox_messages SET available_at = '-infinity' WHERE seq = 5`)
		} else {
			never = `'9999-12-31 00:00:00.000000'`
		}
		// Rescheduled by a clock that was ahead, a message is due whatever this says.
		db.MustExec(`UPDATE outbox_messages SET available_at = ` + never + `, rescheduled_at = ` + clock(db, "1 hour") + ` WHERE seq = 4`)
		var measured lags
		cfg := eager()
		cfg.MeterProvider = &measured
		start(t, newRelay(t, ob, &broker{}, cfg))
		eventually(t, "all to be measured", func() bool { return len(measured.sorted()) == 5 })
		got := measured.sorted()
		want := []time.Duration{0, 10 * time.Minute, 100 * time.Minute, 100 * time.Minute, 100 * time.Minute}
		if d.dialect == file.dialect {
			want = []time.Duration{0, 0, 10 * time.Minute, 100 * time.Minute, 100 * time.Minute} // it is not due before 9999
		}
		for i, w := range want {
			if s := w.Seconds(); got[i] < s || got[i] > s+patience.Seconds() {
				t.Errorf("lags %v; want %v", got, want)
				break
			}
		}
	})
}

// Where nobody listens, measuring a batch allocates nothing.
func TestRelayMeasuresNothingForNobody(t *testing.T) {
	ctx := context.Background()
	rows, results := []*outgoing{{Message: Message{Topic: "t"}}, {}}, []error{nil, ErrRejected}
	for name, provider := range map[string]metric.MeterProvider{"no global provider": nil, "no-op provider": noop.NewMeterProvider()} {
		m := newRelayMetrics(provider, "")
		n := testing.AllocsPerRun(100, func() {
			m.published(ctx, telemetry.Endpoint{System: "rabbitmq", Destination: "e", Address: "a", Port: 1}, time.Time{}, rows, results)
			m.fenced(ctx, 0)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestVerdictNames(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "published"},
		{Unavailable(errors.New("x")), "unavailable"},
		{context.DeadlineExceeded, "unavailable"},
		{Rejected(nil), "rejected"},
		{errors.New("of no class"), "rejected"},
		{Unroutable(nil), "unroutable"},
		{Permanent(nil), "permanent"},
	} {
		if got := verdictName(c.err); got != c.want {
			t.Errorf("%v: %q; want %q", c.err, got, c.want)
		}
	}
}
