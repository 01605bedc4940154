package telemetry

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"
)

// Bounds of histograms, in seconds but for attempts.
var (
	// The conventions' for messaging.
	durationBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	// From a relay that is at hand to a broker that was away for a night.
	lagBuckets     = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200}
	attemptBuckets = []float64{1, 2, 3, 4, 5, 7, 10, 15, 25}
)

// Relay are the instruments of a relay. Those that observe are for a callback.
type Relay struct {
	Meter    metric.Meter
	Duration metric.Float64Histogram // messaging.client.operation.duration
	Sent     metric.Int64Counter     // messaging.client.sent.messages
	Verdicts metric.Int64Counter
	Fenced   metric.Int64Counter
	Lag      metric.Float64Histogram

	Pending, Retrying, Dead, BlockedKeys, Leases, Paused metric.Int64ObservableUpDownCounter
	Unassigned                                           metric.Int64ObservableGauge
	OldestAge, PurgeOverdue                              metric.Float64ObservableGauge
}

// NewRelay returns the instruments of a relay.
func NewRelay(provider metric.MeterProvider) *Relay {
	m := Meter(provider, Outbox)
	return &Relay{
		Meter:    m,
		Duration: clientDuration(m),
		Sent:     made(messagingconv.NewClientSentMessages(m)).Inst(),
		Verdicts: counter(m, "pulse.outbox.publish.verdicts", "{message}", "Messages handed to the broker, by what it said of them."),
		Lag: histogram(m, "pulse.outbox.lag", "s", lagBuckets,
			"Time from when a message was written, or became due, to the broker's confirm."),
		Pending:     upDown(m, "pulse.outbox.pending", "{message}", "Messages that are to be published."),
		Retrying:    upDown(m, "pulse.outbox.retrying", "{message}", "Pending messages that the broker has refused before."),
		Dead:        upDown(m, "pulse.outbox.dead", "{message}", "Messages that are not published until somebody retries or discards them."),
		BlockedKeys: upDown(m, "pulse.outbox.blocked_keys", "{key}", "Keys with a failed message, which holds back the later ones."),
		Paused:      upDown(m, "pulse.outbox.paused", "{pause}", "Topics that are paused by hand; all topics together are one more."),
		Leases:      upDown(m, "pulse.outbox.leases", "{bucket}", "Buckets that the relays of this process hold."),
		Fenced: counter(m, "pulse.outbox.fenced", "{message}",
			"Outcomes that were not stored, because another relay had the lease or the message was discarded."),
		Unassigned: or[metric.Int64ObservableGauge](noop.Int64ObservableGauge{})(m.Int64ObservableGauge("pulse.outbox.buckets.unassigned",
			metric.WithUnit("{bucket}"), metric.WithDescription("Buckets that no relay holds."))),
		OldestAge: seconds(m, "pulse.outbox.oldest_pending.age", "Age of the oldest message that is due, by the database's clock; 0 if there is none."),
		PurgeOverdue: seconds(m, "pulse.outbox.purge.overdue",
			"For how long at most messages have been kept beyond their retention: since the last purge that has left none."),
	}
}

// Enabled reports whether anybody measures.
func (r *Relay) Enabled(ctx context.Context) bool { return r.Verdicts.Enabled(ctx) }

// Consumer are the instruments of a consumer.
type Consumer struct {
	Meter        metric.Meter
	Duration     metric.Float64Histogram // messaging.client.operation.duration
	Consumed     metric.Int64Counter     // messaging.client.consumed.messages
	Process      metric.Float64Histogram // messaging.process.duration
	Outcomes     metric.Int64Counter
	CriticalTime metric.Float64Histogram
	Attempts     metric.Int64Histogram
	Held         metric.Int64ObservableUpDownCounter
	PurgeOverdue metric.Float64ObservableGauge
}

// NewConsumer returns the instruments of a consumer.
func NewConsumer(provider metric.MeterProvider) *Consumer {
	m := Meter(provider, Inbox)
	return &Consumer{
		Meter:    m,
		Duration: clientDuration(m),
		Consumed: made(messagingconv.NewClientConsumedMessages(m)).Inst(),
		Process:  made(messagingconv.NewProcessDuration(m, metric.WithExplicitBucketBoundaries(durationBuckets...))).Inst(),
		Outcomes: counter(m, "pulse.inbox.outcomes", "{message}", "Deliveries, by what became of them."),
		CriticalTime: histogram(m, "pulse.inbox.critical_time", "s", lagBuckets,
			"Time from when the event occurred, by its producer's clock, to when its effect was committed."),
		Attempts: or[metric.Int64Histogram](noop.Int64Histogram{})(m.Int64Histogram("pulse.inbox.attempts", metric.WithUnit("{attempt}"),
			metric.WithExplicitBucketBoundaries(attemptBuckets...), metric.WithDescription("Attempts that messages took to be applied."))),
		Held: upDown(m, "pulse.inbox.held", "{message}", "Deliveries that are received and not settled."),
		PurgeOverdue: seconds(m, "pulse.inbox.purge.overdue",
			"For how long at most applied events have been remembered beyond their retention: since the last purge that has left none."),
	}
}

// Connection are the instruments of connections to a broker.
type Connection struct {
	Meter      metric.Meter
	State      metric.Int64ObservableUpDownCounter
	Reconnects metric.Int64Counter
}

// NewConnection returns the instruments of a connection.
func NewConnection(m metric.Meter) *Connection {
	return &Connection{
		Meter:      m,
		State:      upDown(m, "pulse.connection.state", "{connection}", "Connections to the broker, by state."),
		Reconnects: counter(m, "pulse.connection.reconnects", "{connection}", "Connections made after an earlier one was lost."),
	}
}

func clientDuration(m metric.Meter) metric.Float64Histogram {
	return made(messagingconv.NewClientOperationDuration(m, metric.WithExplicitBucketBoundaries(durationBuckets...))).Inst()
}

func counter(m metric.Meter, name, unit, description string) metric.Int64Counter {
	return or[metric.Int64Counter](noop.Int64Counter{})(m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description)))
}

func upDown(m metric.Meter, name, unit, description string) metric.Int64ObservableUpDownCounter {
	return or[metric.Int64ObservableUpDownCounter](noop.Int64ObservableUpDownCounter{})(
		m.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description)))
}

func seconds(m metric.Meter, name, description string) metric.Float64ObservableGauge {
	return or[metric.Float64ObservableGauge](noop.Float64ObservableGauge{})(
		m.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description)))
}

func histogram(m metric.Meter, name, unit string, buckets []float64, description string) metric.Float64Histogram {
	return or[metric.Float64Histogram](noop.Float64Histogram{})(
		m.Float64Histogram(name, metric.WithUnit(unit), metric.WithDescription(description), metric.WithExplicitBucketBoundaries(buckets...)))
}

// made returns an instrument, which never is nil, and reports an error of making
// it. Telemetry that does not work stops nothing.
func made[T any](instrument T, err error) T {
	if err != nil {
		otel.Handle(err)
	}
	return instrument
}

// or returns made, with none in place of an instrument that is nil.
func or[T comparable](none T) func(T, error) T {
	return func(instrument T, err error) T {
		var missing T
		if instrument = made(instrument, err); instrument == missing {
			return none
		}
		return instrument
	}
}

// Watch has observe called at each collection until the function returned is
// called.
func Watch(m metric.Meter, observe func(metric.Observer), instruments ...metric.Observable) (end func()) {
	registration, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		observe(o)
		return nil
	}, instruments...)
	if err != nil || registration == nil {
		otel.Handle(err)
		return func() {}
	}
	return func() { _ = made(0, registration.Unregister()) }
}
