package telemetry

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

func topics() *Sets[string] {
	return NewSets(
		func(topic string) []attribute.KeyValue { return []attribute.KeyValue{TopicKey.String(topic)} },
		func(string) string { return Other })
}

func value(s *Set) string {
	set := metric.NewAddConfig(s.Add).Attributes()
	v, _ := set.Value(TopicKey)
	return v.AsString()
}

func TestSetsAreBounded(t *testing.T) {
	sets := topics()
	seen := map[string]bool{}
	for i := range 10 * maxSets {
		seen[value(sets.Of(fmt.Sprint(i)))] = true
	}
	if len(seen) != maxSets+1 || !seen[Other] || !seen["0"] {
		t.Errorf("%d values, %q among them: %t; want %d", len(seen), Other, seen[Other], maxSets+1)
	}
	if v := value(sets.Of("0")); v != "0" {
		t.Errorf("what was known before is %q", v)
	}
}

func TestSetsAllocateOnce(t *testing.T) {
	sets := topics()
	sets.Of("order.created")
	if n := testing.AllocsPerRun(100, func() { sets.Of("order.created") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
