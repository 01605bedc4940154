package inbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Where nobody listens, measuring allocates nothing.
func TestConsumerMeasuresNothingForNobody(t *testing.T) {
	ctx := context.Background()
	o := committed(attempt{deliveries: make([]Delivery, 2)}, applied{states: []claimState{unseen, duplicate}})
	var counts settleCounts
	counts.add(o.settlements[0], ActionAck)
	failure := errors.New("failure")
	for name, provider := range map[string]metric.MeterProvider{"no global provider": nil, "no-op provider": noop.NewMeterProvider()} {
		m := newConsumerMetrics(provider, nil, "notifications")
		n := testing.AllocsPerRun(100, func() {
			m.received(ctx)
			m.processed(ctx, time.Time{}, failure)
			m.committed(ctx, o)
			m.settled(ctx, time.Time{}, counts)
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
