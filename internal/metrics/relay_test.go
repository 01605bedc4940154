package metrics_test

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/outboxtest"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// relayConfig has settings under which a test waits for nothing long.
func relayConfig(m *meters) outbox.RelayConfig {
	return outbox.RelayConfig{
		MeterProvider: m, Logger: quiet, PollInterval: 5 * time.Millisecond, MaxPollInterval: 20 * time.Millisecond,
		SweepInterval: 50 * time.Millisecond, Backoff: func(int) time.Duration { return time.Hour },
	}
}

// startRelay runs a relay.
func startRelay(t *testing.T, ob *outbox.Outbox, p outbox.Publisher, cfg outbox.RelayConfig) (stop func()) {
	t.Helper()
	relay, err := outbox.NewRelay(ob, p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, relay.Run)
}

// answering is a broker that answers err to everything.
func answering(err error) *outboxtest.Recorder {
	r := &outboxtest.Recorder{}
	r.Respond(func(outbox.Message, int) error { return err })
	return r
}

// newPublisher returns a publisher to a development broker, and the attributes of its
// endpoint.
func newPublisher(t *testing.T, m *meters, dev *devbroker.Broker) (p *rabbitmq.Publisher, server string) {
	t.Helper()
	p, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{URL: dev.URL(), Producer: "orders", MeterProvider: m, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	address, err := url.Parse(dev.URL())
	if err != nil {
		t.Fatal(err)
	}
	return p, fmt.Sprintf("server.address=%s,server.port=%s", address.Hostname(), address.Port())
}

func TestRelay(t *testing.T) {
	dev := devbroker.NewTest(t)
	bind(t, dev.URL(), "order.created")
	m := newMeters(t)
	ob, db := newOutbox(t)
	p, server := newPublisher(t, m, dev)
	testenv.Eventually(t, patience, "a connection", func() bool { connected, _ := p.Health(); return connected })
	enqueue(t, ob, db, "order.created", "order.created", "order.created", "order.lost", "order.created", "order.lost")
	startRelay(t, ob, p, relayConfig(m))

	at := "messaging.destination.name=pulse.events,messaging.operation.name=publish,messaging.system=rabbitmq," + server
	m.await(t, map[string]float64{
		"pulse.outbox.publish.verdicts{pulse.outbox.verdict=published,pulse.topic=order.created}": 4,
		"pulse.outbox.publish.verdicts{pulse.outbox.verdict=unroutable,pulse.topic=order.lost}":   2,
		"messaging.client.sent.messages{" + at + "}":                                              4,
		"messaging.client.sent.messages{error.type=unroutable," + at + "}":                        2,
		"pulse.outbox.lag{pulse.topic=order.created}":                                             4,
		"pulse.outbox.pending":            2,
		"pulse.outbox.retrying":           2,
		"pulse.outbox.dead":               0,
		"pulse.outbox.blocked_keys":       0, // they have none
		"pulse.outbox.leases":             64,
		"pulse.outbox.paused":             0,
		"pulse.outbox.buckets.unassigned": 0,
		"pulse.outbox.fenced":             0,
		"pulse.connection.state{messaging.system=rabbitmq,pulse.connection.name=orders publisher,pulse.connection.state=connected}":    1,
		"pulse.connection.state{messaging.system=rabbitmq,pulse.connection.name=orders publisher,pulse.connection.state=blocked}":      0,
		"pulse.connection.state{messaging.system=rabbitmq,pulse.connection.name=orders publisher,pulse.connection.state=disconnected}": 0,
		"pulse.connection.reconnects{messaging.system=rabbitmq,pulse.connection.name=orders publisher}":                                0,
	})
	found := m.collect(t)
	if age := points(found["pulse.outbox.oldest_pending.age"]); len(age) != 1 || age[0].value <= 0 {
		t.Errorf("age of the oldest: %+v", age)
	}
	calls := 0.0
	for _, p := range points(found["messaging.client.operation.duration"]) {
		if v, ok := p.attributes.Value("messaging.operation.type"); !ok || v.AsString() != "send" {
			t.Errorf("duration of %v", p.attributes.ToSlice())
		}
		calls += p.value
	}
	if calls < 1 || calls > 6 {
		t.Errorf("%v calls of Publish", calls)
	}
}

// The messages that wait can be seen while nothing can be published.
func TestRelayWithoutBroker(t *testing.T) {
	dev := devbroker.NewTest(t)
	bind(t, dev.URL(), "order.created")
	m := newMeters(t)
	ob, db := newOutbox(t)
	p, _ := newPublisher(t, m, dev)
	startRelay(t, ob, p, relayConfig(m))
	connection := func(state string) string {
		return "pulse.connection.state{messaging.system=rabbitmq,pulse.connection.name=orders publisher,pulse.connection.state=" + state + "}"
	}
	m.await(t, map[string]float64{"pulse.outbox.pending": 0, connection("connected"): 1})

	if err := dev.Down(); err != nil {
		t.Fatal(err)
	}
	enqueue(t, ob, db, "order.created", "order.created", "order.created")
	m.await(t, map[string]float64{"pulse.outbox.pending": 3, "pulse.outbox.leases": 64, connection("connected"): 0, connection("disconnected"): 1})
	if sent := m.series(t)["pulse.outbox.publish.verdicts{pulse.outbox.verdict=published,pulse.topic=order.created}"]; sent != 0 {
		t.Errorf("%v messages published without a broker", sent)
	}
	enqueue(t, ob, db, "order.created")
	m.await(t, map[string]float64{"pulse.outbox.pending": 4})

	if err := dev.Up(); err != nil {
		t.Fatal(err)
	}
	m.await(t, map[string]float64{
		"pulse.outbox.pending": 0, connection("connected"): 1,
		"pulse.connection.reconnects{messaging.system=rabbitmq,pulse.connection.name=orders publisher}": 1,
		"pulse.outbox.publish.verdicts{pulse.outbox.verdict=published,pulse.topic=order.created}":       4,
		"pulse.outbox.lag{pulse.topic=order.created}":                                                   4,
	})
}

// Dead messages and the keys they block are counted.
func TestRelayDead(t *testing.T) {
	m := newMeters(t)
	ob, db := newOutbox(t)
	tx := db.MustBegin()
	for range 3 {
		msg := outbox.NewMessage("order.created", []byte("{}"))
		msg.Key = "order-1"
		if err := ob.Enqueue(t.Context(), tx, msg); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	refusing := answering(outbox.Permanent(nil))
	startRelay(t, ob, refusing, relayConfig(m))
	m.await(t, map[string]float64{
		"pulse.outbox.dead": 1, "pulse.outbox.pending": 2, "pulse.outbox.retrying": 0, "pulse.outbox.blocked_keys": 1,
		"pulse.outbox.publish.verdicts{pulse.outbox.verdict=permanent,pulse.topic=order.created}":                       1,
		"messaging.client.sent.messages{error.type=permanent,messaging.operation.name=publish,messaging.system=_OTHER}": 1,
	})
}

// One of several relays measures what all have in common, and another one when it
// is gone.
func TestRelaysMeasureOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.db")
	var all []*meters
	var stops []func()
	for range 3 {
		m := newMeters(t)
		ob, _ := openOutbox(t, path)
		cfg := relayConfig(m)
		cfg.LeaseTTL = time.Second
		all, stops = append(all, m), append(stops, startRelay(t, ob, &outboxtest.Recorder{}, cfg))
	}
	measuring := func() (those []int) {
		leases := 0.0
		for i, m := range all {
			found := m.series(t)
			leases += found["pulse.outbox.leases"]
			if _, ok := found["pulse.outbox.pending"]; ok {
				those = append(those, i)
			}
		}
		if leases != 64 {
			return nil
		}
		return those
	}
	testenv.Eventually(t, patience, "one relay to measure", func() bool { return len(measuring()) == 1 })
	first := measuring()
	if len(first) != 1 {
		t.Fatalf("relays %v measure", first)
	}
	stops[first[0]]()
	testenv.Eventually(t, patience, "another relay to measure", func() bool {
		now := measuring()
		return len(now) == 1 && now[0] != first[0]
	})
	if left := all[first[0]].series(t, "pulse.outbox.leases", "pulse.outbox.pending"); len(left) != 0 {
		t.Errorf("of a relay that has stopped: %v", left)
	}
}

// Relays of several outboxes tell these apart.
func TestRelaysNameTheirOutboxes(t *testing.T) {
	m := newMeters(t)
	outboxes := make(map[string]*outbox.Outbox)
	for i, name := range []string{"acme", "zeta"} {
		ob, db := newOutbox(t)
		outboxes[name] = ob
		for range i + 1 {
			enqueue(t, ob, db, "order.lost")
		}
	}
	refusing := answering(outbox.Unroutable(nil))
	relays, err := outbox.NewRelays(outboxes, refusing, outbox.RelaysConfig{Relay: relayConfig(m)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, relays.Run)
	m.await(t, map[string]float64{
		"pulse.outbox.retrying{pulse.outbox.name=acme}": 1, "pulse.outbox.retrying{pulse.outbox.name=zeta}": 2,
		"pulse.outbox.leases{pulse.outbox.name=acme}": 64, "pulse.outbox.leases{pulse.outbox.name=zeta}": 64,
	})
}

// hanging is an exporter whose collector does not answer.
type hanging struct {
	sdkmetric.Exporter
	called chan struct{}
}

func (hanging) Temporality(k sdkmetric.InstrumentKind) metricdata.Temporality {
	return sdkmetric.DefaultTemporalitySelector(k)
}
func (hanging) Aggregation(k sdkmetric.InstrumentKind) sdkmetric.Aggregation {
	return sdkmetric.DefaultAggregationSelector(k)
}
func (h hanging) Export(ctx context.Context, _ *metricdata.ResourceMetrics) error {
	select {
	case h.called <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return ctx.Err()
}
func (hanging) ForceFlush(context.Context) error { return nil }
func (hanging) Shutdown(context.Context) error   { return nil }

// A collector that does not answer stops no relay.
func TestRelayWithHangingCollector(t *testing.T) {
	collector := hanging{called: make(chan struct{}, 1)}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(
		sdkmetric.NewPeriodicReader(collector, sdkmetric.WithInterval(time.Millisecond), sdkmetric.WithTimeout(time.Hour))))
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = provider.Shutdown(ctx)
	})
	ob, db := newOutbox(t)
	broker := &outboxtest.Recorder{}
	stop := startRelay(t, ob, broker, relayConfig(&meters{MeterProvider: provider}))
	<-collector.called
	enqueue(t, ob, db, "order.created")
	testenv.Eventually(t, patience, "a message to be published", func() bool { return len(broker.Published()) == 1 })
	stop()
}
