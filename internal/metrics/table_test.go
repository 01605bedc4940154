package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/asimalizada/pulse-events/inbox"
	inboxrabbit "github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// documented are the lines of the table of metrics: name, type, unit, attributes.
var documented = regexp.MustCompile("(?m)^\\| `((?:messaging|pulse)\\.[a-z_.]+)` \\| (\\w+) \\| `([^`]+)` \\| ([^|]*)\\|")

// TestTable compares the table of docs/observability.md with what is collected of
// libraries that do all they can measure.
func TestTable(t *testing.T) {
	text, err := os.ReadFile("../../docs/observability.md")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]string)
	for _, row := range documented.FindAllStringSubmatch(string(text), -1) {
		var attributes []string
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[4], -1) {
			attributes = append(attributes, name[1])
		}
		slices.Sort(attributes)
		table[row[1]] = fmt.Sprintf("%s, %s, %s", row[2], row[3], strings.Join(attributes, " "))
	}
	if len(table) == 0 {
		t.Fatal("the table was not found")
	}
	m := newMeters(t)
	measureAll(t, m)
	var differ []string
	defer func() {
		if t.Failed() {
			t.Log(strings.Join(differ, "\n"))
		}
	}()
	testenv.Eventually(t, patience, "the table to be what is collected", func() bool {
		differ = differences(table, m.collect(t))
		return len(differ) == 0
	})
}

// differences returns a line for each metric that the table describes otherwise.
func differences(table map[string]string, collected map[string][]metricdata.Metrics) (lines []string) {
	for name, found := range collected {
		for _, each := range found {
			is := fmt.Sprintf("%s, %s, %s", typeOf(each.Data), each.Unit, strings.Join(keys(found), " "))
			if is != table[name] {
				lines = append(lines, fmt.Sprintf("%s is %s; in the table: %q", name, is, table[name]))
			}
			if each.Description == "" {
				lines = append(lines, name+" has no description")
			}
		}
	}
	for name := range table {
		if _, ok := collected[name]; !ok {
			lines = append(lines, name+" is in the table, and was not collected")
		}
	}
	slices.Sort(lines)
	return lines
}

func typeOf(data metricdata.Aggregation) string {
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		if d.IsMonotonic {
			return "counter"
		}
		return "updowncounter"
	case metricdata.Gauge[int64], metricdata.Gauge[float64]:
		return "gauge"
	case metricdata.Histogram[int64], metricdata.Histogram[float64]:
		return "histogram"
	}
	return fmt.Sprintf("%T", data)
}

// keys returns those of the attributes of all series.
func keys(found []metricdata.Metrics) (names []string) {
	for _, p := range points(found) {
		for _, kv := range p.attributes.ToSlice() {
			names = append(names, string(kv.Key))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// measureAll runs all that is measured, with success and without.
func measureAll(t *testing.T, m *meters) {
	t.Helper()
	dev := devbroker.NewTest(t)
	source, err := inboxrabbit.NewSource(inboxrabbit.SourceConfig{URL: dev.URL(), Queue: "order.created", MeterProvider: m, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = source.Close() })
	var handled atomic.Int32
	startConsumer(t, m, source, func(context.Context, inbox.Tx, inbox.Message) error {
		if handled.Add(1) == 1 {
			return inbox.DeadLetter(errors.New("bad"))
		}
		return nil
	})
	testenv.Eventually(t, patience, "a subscription", func() bool { connected, _ := source.Health(); return connected })
	publisher, _ := newPublisher(t, m, dev)
	testenv.Eventually(t, patience, "a connection", func() bool { connected, _ := publisher.Health(); return connected })
	ob, db := newOutbox(t)
	enqueue(t, ob, db, "order.created", "order.created")
	relays, err := outbox.NewRelays(map[string]*outbox.Outbox{"acme": ob}, publisher, outbox.RelaysConfig{Relay: relayConfig(m)})
	if err != nil {
		t.Fatal(err)
	}
	run(t, relays.Run)
	m.await(t, map[string]float64{"pulse.outbox.publish.verdicts{pulse.outbox.verdict=published,pulse.topic=order.created}": 2})
	enqueue(t, ob, db, "order.lost") // a call that fails as a whole
}
