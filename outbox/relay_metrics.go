package outbox

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// relayMetrics measures what a relay does. Nothing of it waits, fails, or asks the
// database: gauges of that show what the relay has found last.
type relayMetrics struct {
	*telemetry.Relay
	calls    *telemetry.Sets[publishResult]
	verdicts *telemetry.Sets[topicVerdict]
	lags     *telemetry.Sets[string] // by topic
	outbox   *telemetry.Set
	none     *telemetry.Set

	mu      sync.Mutex
	backlog *Stats // nil: not measured

	overdue telemetry.Overdue // of the purge, while this relay does it
}

// publishResult tells calls of Publish apart, and messages in them.
type publishResult struct {
	telemetry.Endpoint
	operation telemetry.Operation
	errorType string // empty: none
}

// topicVerdict is what the broker said of messages of a topic.
type topicVerdict struct{ topic, verdict string }

// What verdicts are called in metrics. All but the first are values of error.type
// as well.
const (
	verdictPublished   = "published"
	verdictRejected    = "rejected"
	verdictUnroutable  = "unroutable"
	verdictPermanent   = "permanent"
	verdictUnavailable = "unavailable"
)

// verdictName names what is known of a message that was handed to the publisher.
func verdictName(err error) string {
	switch judge(err) {
	case published:
		return verdictPublished
	case none:
		return verdictUnavailable
	case dead:
		return verdictPermanent
	}
	if errors.Is(err, ErrUnroutable) {
		return verdictUnroutable
	}
	return verdictRejected
}

// newRelayMetrics returns the metrics of a relay for the outbox of that name, which
// may be empty.
func newRelayMetrics(provider metric.MeterProvider, name string) *relayMetrics {
	m := &relayMetrics{
		Relay: telemetry.NewRelay(provider),
		calls: telemetry.NewSets(func(r publishResult) []attribute.KeyValue {
			attributes := append(r.Attributes(), r.operation.Attributes()...)
			if r.errorType != "" {
				attributes = append(attributes, telemetry.ErrorTypeKey.String(r.errorType))
			}
			return attributes
		}, func(r publishResult) publishResult { // brokers come and go
			r.Address, r.Port = "", 0
			return r
		}),
		verdicts: telemetry.NewSets(func(v topicVerdict) []attribute.KeyValue {
			return []attribute.KeyValue{telemetry.TopicKey.String(v.topic), telemetry.VerdictKey.String(v.verdict)}
		}, func(v topicVerdict) topicVerdict { return topicVerdict{telemetry.Other, v.verdict} }),
		lags: telemetry.NewSets(func(topic string) []attribute.KeyValue {
			return []attribute.KeyValue{telemetry.TopicKey.String(topic)}
		}, func(string) string { return telemetry.Other }),
		outbox: telemetry.NewSet(),
		none:   telemetry.NewSet(),
	}
	if name != "" {
		m.outbox = telemetry.NewSet(telemetry.OutboxNameKey.String(name))
	}
	return m
}

// published measures a call of Publish that began at a time. results is as long as
// rows.
func (m *relayMetrics) published(ctx context.Context, to telemetry.Endpoint, began time.Time, rows []*outgoing, results []error) {
	if !m.Enabled(ctx) {
		return
	}
	now := time.Now()
	byTopic, byVerdict := make(map[topicVerdict]int64), make(map[string]int64)
	failure := ""
	for i, row := range rows {
		verdict := verdictName(results[i])
		byTopic[topicVerdict{row.Topic, verdict}]++
		byVerdict[verdict]++
		switch {
		case verdict == verdictPublished:
			m.Lag.Record(ctx, max(0, now.Sub(row.due)).Seconds(), m.lags.Of(row.Topic).Record...)
		case failure == "":
			failure = verdict
		}
	}
	if byVerdict[verdictPublished] > 0 {
		failure = "" // of some messages, not of the call
	}
	m.Duration.Record(ctx, now.Sub(began).Seconds(), m.calls.Of(publishResult{to, telemetry.Publish, failure}).Record...)
	for verdict, n := range byVerdict {
		if verdict == verdictPublished {
			verdict = ""
		}
		m.Sent.Add(ctx, n, m.calls.Of(publishResult{to, telemetry.Publish.Untyped(), verdict}).Add...)
	}
	for of, n := range byTopic {
		m.Verdicts.Add(ctx, n, m.verdicts.Of(of).Add...)
	}
}

// fenced counts outcomes that were not stored.
func (m *relayMetrics) fenced(ctx context.Context, n int) { m.Fenced.Add(ctx, int64(n), m.none.Add...) }

// found keeps what the database holds for the gauges, until the next time.
func (m *relayMetrics) found(s Stats) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.backlog = &s
}

// watch has the gauges of r collected until end is called.
func (m *relayMetrics) watch(ctx context.Context, r *Relay) (end func()) {
	m.fenced(ctx, 0) // so that the first is seen to be added
	return telemetry.Watch(m.Meter, func(o metric.Observer) { m.observe(o, r) },
		m.Leases, m.Unassigned, m.Paused, m.Pending, m.Retrying, m.Dead, m.BlockedKeys, m.OldestAge, m.PurgeOverdue)
}

// observe reports the gauges. Those of the database come from one of all relays of
// the outbox, also when it cannot publish.
func (m *relayMetrics) observe(o metric.Observer, r *Relay) {
	h := r.monitor.read()
	o.ObserveInt64(m.Leases, int64(h.Leases), m.outbox.Observe...)
	if h.State != RelayStarting {
		o.ObserveInt64(m.Unassigned, int64(h.Unserved), m.outbox.Observe...)
	}
	if r.leases.laneOf(purgeBucket) == nil || r.cfg.Retention == KeepForever {
		m.overdue.Forget() // another relay purges, or none
	} else {
		m.overdue.Begin()
		m.overdue.Observe(o, m.PurgeOverdue, m.outbox.Observe...)
	}
	if !r.measuresBacklog() {
		return
	}
	o.ObserveInt64(m.Paused, int64(len(r.pauses.details())), m.outbox.Observe...)
	m.mu.Lock()
	s := m.backlog
	m.mu.Unlock()
	if s == nil {
		return
	}
	o.ObserveInt64(m.Pending, s.Pending.N, m.outbox.Observe...)
	o.ObserveInt64(m.Retrying, s.Retrying.N, m.outbox.Observe...)
	o.ObserveInt64(m.Dead, s.Dead.N, m.outbox.Observe...)
	o.ObserveInt64(m.BlockedKeys, s.BlockedKeys.N, m.outbox.Observe...)
	o.ObserveFloat64(m.OldestAge, s.OldestPendingAge.Seconds(), m.outbox.Observe...)
}

// gaugeBucket elects the relay that measures the backlog: whoever holds it.
const gaugeBucket = 0

func (r *Relay) measuresBacklog() bool { return r.leases.laneOf(gaugeBucket) != nil }

// endpoint returns where messages go at present.
func (r *Relay) endpoint() telemetry.Endpoint {
	if d, ok := r.publisher.(Describer); ok {
		return telemetry.Endpoint(d.Endpoint())
	}
	return telemetry.Endpoint{}
}
