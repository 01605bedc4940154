package inbox

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// consumerMetrics measures what a consumer does. Nothing of it waits or fails.
type consumerMetrics struct {
	*telemetry.Consumer
	source     Source
	operations *telemetry.Sets[measured]
	outcomes   *telemetry.Sets[string] // by outcome
	consumer   *telemetry.Set
	overdue    telemetry.Overdue // of the purge, if there is one
}

// measured tells operations apart.
type measured struct {
	telemetry.Endpoint
	telemetry.Operation
	errorType string // empty: none
}

// newConsumerMetrics returns the metrics of the consumer of that name, which may be
// empty.
func newConsumerMetrics(provider metric.MeterProvider, s Source, name string) *consumerMetrics {
	m := &consumerMetrics{Consumer: telemetry.NewConsumer(provider), source: s}
	var consumer []attribute.KeyValue
	if name != "" {
		consumer = append(consumer, telemetry.ConsumerKey.String(name))
	}
	m.operations = telemetry.NewSets(func(of measured) []attribute.KeyValue {
		attributes := append(append(of.Endpoint.Attributes(), of.Operation.Attributes()...), consumer...)
		if of.errorType != "" {
			attributes = append(attributes, telemetry.ErrorTypeKey.String(of.errorType))
		}
		return attributes
	}, func(of measured) measured { // brokers come and go, and so do errors
		of.Address, of.Port = "", 0
		if of.errorType != "" {
			of.errorType = telemetry.Other
		}
		return of
	})
	if queue := m.endpoint().Destination; queue != "" {
		consumer = append(consumer, telemetry.DestinationKey.String(queue))
	}
	m.outcomes = telemetry.NewSets(func(outcome string) []attribute.KeyValue {
		return append([]attribute.KeyValue{telemetry.OutcomeKey.String(outcome)}, consumer...)
	}, func(string) string { return telemetry.Other })
	m.consumer = telemetry.NewSet(consumer...)
	return m
}

func (m *consumerMetrics) endpoint() telemetry.Endpoint {
	if d, ok := m.source.(Describer); ok {
		return telemetry.Endpoint(d.Endpoint())
	}
	return telemetry.Endpoint{}
}

// of returns the attributes of an operation at the broker of this moment.
func (m *consumerMetrics) of(op telemetry.Operation, errorType string) *telemetry.Set {
	return m.operations.Of(measured{m.endpoint(), op, errorType})
}

// received counts a delivery.
func (m *consumerMetrics) received(ctx context.Context) {
	if m.Consumed.Enabled(ctx) {
		m.Consumed.Add(ctx, 1, m.of(telemetry.Receive.Untyped(), "").Add...)
	}
}

// processed measures a transaction of an attempt, which began at a time and ended
// with err.
func (m *consumerMetrics) processed(ctx context.Context, began time.Time, err error) {
	if !m.Process.Enabled(ctx) || errors.Is(err, errUnfinished) {
		return
	}
	failure := ""
	if err != nil {
		failure = errorType(err)
	}
	m.Process.Record(ctx, time.Since(began).Seconds(), m.of(telemetry.Process.Untyped(), failure).Record...)
}

// committed counts the messages of a transaction.
func (m *consumerMetrics) committed(ctx context.Context, o outcome) {
	if o.duplicates > 0 {
		m.count(ctx, telemetry.OutcomeDuplicate, o.duplicates)
	}
	if o.applied == 0 || !m.Outcomes.Enabled(ctx) {
		return
	}
	m.count(ctx, telemetry.OutcomeApplied, o.applied)
	now := time.Now()
	for i, st := range o.settlements {
		if !o.effects[i] {
			continue
		}
		m.Attempts.Record(ctx, int64(st.Delivery.Failures)+1, m.consumer.Record...)
		if occurred := st.Delivery.Message.OccurredAt; !occurred.IsZero() {
			m.CriticalTime.Record(ctx, max(0, now.Sub(occurred)).Seconds(), m.consumer.Record...)
		}
	}
}

// settled measures a call of Settle, which began at a time.
func (m *consumerMetrics) settled(ctx context.Context, began time.Time, c settleCounts) {
	if !m.Outcomes.Enabled(ctx) {
		return
	}
	failure := ""
	if c.failed > 0 && c.stale == 0 && c.by == [len(c.by)]int64{} {
		failure = settleFailed
	}
	m.Duration.Record(ctx, time.Since(began).Seconds(), m.of(telemetry.Settle, failure).Record...)
	m.count(ctx, telemetry.OutcomeRetry, c.by[ActionRetry])
	m.count(ctx, telemetry.OutcomeConflict, c.conflicts)
	m.count(ctx, telemetry.OutcomeDeadLetter, c.by[ActionDeadLetter]-c.conflicts)
	m.count(ctx, telemetry.OutcomeRequeue, c.by[ActionRequeue])
	m.count(ctx, telemetry.OutcomeStale, c.stale)
}

func (m *consumerMetrics) count(ctx context.Context, outcome string, n int64) {
	if n > 0 && m.Outcomes.Enabled(ctx) {
		m.Outcomes.Add(ctx, n, m.outcomes.Of(outcome).Add...)
	}
}

// watch has the gauges collected until end is called.
func (m *consumerMetrics) watch(held *countingSource) (end func()) {
	return telemetry.Watch(m.Meter, func(o metric.Observer) {
		n, _ := held.count()
		o.ObserveInt64(m.Held, int64(n), m.consumer.Observe...)
		m.overdue.Observe(o, m.PurgeOverdue, m.consumer.Observe...)
	}, m.Held, m.PurgeOverdue)
}
