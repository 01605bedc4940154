package spans_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientKind is that of a request.
var clientKind = trace.WithSpanKind(trace.SpanKindClient)

// patience limits every wait of a test.
const patience = 60 * time.Second

// recorder records the spans of a test.
type recorder struct {
	*sdktrace.TracerProvider
	exporter *tracetest.InMemoryExporter
	sampler  *noting
}

func newRecorder() *recorder {
	r := &recorder{exporter: tracetest.NewInMemoryExporter(), sampler: &noting{}}
	r.TracerProvider = sdktrace.NewTracerProvider(sdktrace.WithSyncer(r.exporter), sdktrace.WithSampler(r.sampler))
	return r
}

// noting is a sampler that notes what samplers get to see.
type noting struct {
	mu   sync.Mutex
	seen map[string][]attribute.KeyValue // by the span's name, of the last
}

func (s *noting) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = make(map[string][]attribute.KeyValue)
	}
	s.seen[p.Name] = p.Attributes
	return sdktrace.AlwaysSample().ShouldSample(p)
}

func (s *noting) Description() string { return "noting" }

// at returns what was known of a span at its start, as text.
func (s *noting) at(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return attributesText(s.seen[name])
}

// named returns the spans with that name that have ended, in the order in which they
// were started.
func (r *recorder) named(name string) []tracetest.SpanStub {
	var found []tracetest.SpanStub
	for _, s := range r.exporter.GetSpans() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	slices.SortStableFunc(found, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	return found
}

// await waits for n spans with that name to end.
func (r *recorder) await(t *testing.T, n int, name string) []tracetest.SpanStub {
	t.Helper()
	testenv.Eventually(t, patience, fmt.Sprintf("%d spans %q", n, name), func() bool { return len(r.named(name)) >= n })
	found := r.named(name)
	if len(found) != n {
		t.Fatalf("%d spans %q, want %d", len(found), name, n)
	}
	return found
}

// tree draws all spans that have ended: below each the spans within it, with kind,
// links and, of ours, attributes. Spans are numbered in the order of their start.
func (r *recorder) tree(replace ...string) string {
	spans := r.exporter.GetSpans()
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	numbers := make(map[trace.SpanID]int)
	for i, s := range spans {
		numbers[s.SpanContext.SpanID()] = i + 1
	}
	var text strings.Builder
	var draw func(parent trace.SpanID, indent string)
	draw = func(parent trace.SpanID, indent string) {
		for _, s := range spans {
			above := s.Parent.SpanID()
			if numbers[above] == 0 {
				above = trace.SpanID{}
			}
			if above != parent {
				continue
			}
			fmt.Fprintf(&text, "%s%d %s (%v)", indent, numbers[s.SpanContext.SpanID()], s.Name, s.SpanKind)
			for _, link := range s.Links {
				fmt.Fprintf(&text, " -> %d", numbers[link.SpanContext.SpanID()])
				if attributes := attributesText(link.Attributes); attributes != "" {
					fmt.Fprintf(&text, " [%s]", attributes)
				}
			}
			if s.Status.Code == codes.Error {
				fmt.Fprint(&text, " FAILED")
			}
			fmt.Fprintln(&text)
			if strings.HasPrefix(s.InstrumentationScope.Name, "github.com/asimalizada/pulse-events") {
				fmt.Fprintf(&text, "%s    %s\n", indent, strings.ReplaceAll(attributesText(s.Attributes), "\n", "\n"+indent+"    "))
			}
			draw(s.SpanContext.SpanID(), indent+"  ")
		}
	}
	draw(trace.SpanID{}, "")
	return strings.NewReplacer(replace...).Replace(text.String())
}

// attributesText returns one attribute a line, in their order.
func attributesText(attributes []attribute.KeyValue) string {
	sorted := slices.SortedFunc(slices.Values(attributes), func(a, b attribute.KeyValue) int { return cmp.Compare(a.Key, b.Key) })
	lines := make([]string, len(sorted))
	for i, kv := range sorted {
		lines[i] = fmt.Sprintf("%s=%s", kv.Key, kv.Value.String())
	}
	return strings.Join(lines, "\n")
}

// value returns an attribute of a span as text; "": there is none.
func value(s tracetest.SpanStub, key string) string {
	for _, kv := range s.Attributes {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}
