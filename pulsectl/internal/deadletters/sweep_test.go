package deadletters_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func (r *rig) requeue(q deadletters.Requeue) deadletters.Report {
	r.t.Helper()
	report, err := r.queue.Requeue(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return report
}

func TestRequeue(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(12)
		applied := func(_ context.Context, ids []string) (map[string]bool, error) {
			return map[string]bool{"event-001": slices.Contains(ids, "event-001"), "event-007": slices.Contains(ids, "event-007")}, nil
		}
		dry := deadletters.Requeue{Filter: deadletters.Filter{Key: "key-1"}, Limit: 3, DryRun: true, Applied: applied}
		want := deadletters.Report{Queue: r.names.DeadLetters, To: r.names.Queue, Seen: 12, Matched: 3, Done: 3, AlreadyApplied: 2, DryRun: true}
		if got := r.requeue(dry); !reflect.DeepEqual(got, want) {
			t.Errorf("dry run: %+v, want %+v", got, want)
		}
		r.awaitDepth(r.names.DeadLetters, 12)
		real := dry
		real.DryRun, want.DryRun = false, false
		want.Seen = 8 // then there were enough
		var told []string
		real.Done = func(l *deadletters.Letter, err error) { told = append(told, fmt.Sprint(l.Ref, err)) }
		if got := r.requeue(real); !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		if len(told) != 3 || told[0] != "event-001<nil>" {
			t.Errorf("told of %v", told)
		}
		if got := ids(r.take(r.names.Queue, 3)); !slices.Equal(got, []string{"event-001", "event-004", "event-007"}) {
			t.Errorf("moved %v", got)
		}
		// Elsewhere, the rest of which the filter leaves an earlier letter of each key.
		r.declare("elsewhere", nil)
		if err := r.plain.QueueBind("elsewhere", "again", "amq.topic", false, nil); err != nil {
			t.Fatal(err)
		}
		report := r.requeue(deadletters.Requeue{Filter: deadletters.Filter{Since: letterTime(3)}, To: deadletters.Destination{Exchange: "amq.topic", Key: "again"}})
		if report.Done != 7 || report.AlreadyApplied != -1 || report.Overtook != 6 || report.To != "amq.topic/again" {
			t.Errorf("%+v", report)
		}
		for _, d := range r.take("elsewhere", 7) {
			if d.Headers["pulse-topic"] != "order.created" || d.Headers["pulse-attempts"] != nil || d.Headers["tenant"] != "acme" || d.CorrelationId != "c1" {
				t.Errorf("%+v", d)
			}
		}
		if got := ids(r.take(r.names.DeadLetters, 2)); !slices.Equal(got, []string{"event-000", "event-002"}) {
			t.Errorf("left %v", got)
		}
	})
}

func letterTime(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC) }

// What cannot go where it should stays, and it is said why.
func TestRequeueRefused(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(3)
		report, err := r.queue.Requeue(t.Context(), deadletters.Requeue{To: deadletters.Destination{Key: "nowhere"}})
		if f, ok := errors.AsType[*fail.Error](err); !ok || f.Kind != fail.General || f.Hint == "" || !strings.Contains(err.Error(), "nowhere") ||
			report.Done != 0 || report.Refused == 0 || len(report.Failures) != report.Refused {
			t.Errorf("%+v, %v", report, err)
		}
		if _, err := r.queue.Requeue(t.Context(), deadletters.Requeue{To: deadletters.Destination{Key: r.names.DeadLetters}}); fail.From(err).Kind != fail.Usage {
			t.Errorf("to itself: %v", err)
		}
		if got := ids(r.take(r.names.DeadLetters, 3)); !slices.IsSorted(got) {
			t.Errorf("left %v", got)
		}
	})
}

// An interruption ends the moving; the others stay in their order. A rate delays it.
func TestRequeueInterrupted(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(40)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		report, err := r.queue.Requeue(ctx, deadletters.Requeue{
			Filter: deadletters.Filter{Key: "key-0"}, Rate: 1000,
			Done: func(*deadletters.Letter, error) { cancel() },
		})
		if err != nil || !report.Interrupted || report.Done == 0 || report.Done == 14 && report.Seen != 40 {
			t.Errorf("%+v, %v", report, err)
		}
		moved := ids(r.take(r.names.Queue, report.Done))
		left := ids(r.take(r.names.DeadLetters, 40-report.Done))
		if !slices.IsSorted(moved) || !slices.IsSorted(left) {
			t.Errorf("moved %v, left %v", moved, left)
		}
	})
}

// What was discarded is in the file before it leaves the queue, with everything.
func TestDiscard(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(10)
		if _, err := r.queue.Discard(t.Context(), deadletters.Discard{}); fail.From(err).Kind != fail.Usage {
			t.Errorf("without a reason: %v", err)
		}
		name := filepath.Join(t.TempDir(), "discarded.jsonl")
		file, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		report, err := r.queue.Discard(t.Context(), deadletters.Discard{Filter: deadletters.Filter{Key: "key-2"}, Reason: "a test", By: "me", To: file,
			Done: func(l *deadletters.Letter, _ error) {
				if text, err := os.ReadFile(name); err != nil || !bytes.Contains(text, []byte(l.Ref)) {
					t.Errorf("%s is gone before it is in the file", l.Ref)
				}
			}})
		if err := errors.Join(err, file.Close()); err != nil || report.Done != 3 || report.To != "" {
			t.Fatalf("%+v, %v", report, err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var written []string
		for line := range strings.Lines(string(text)) {
			var record deadletters.Record
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Discarded.Reason != "a test" || record.Discarded.By != "me" || record.Discarded.At.IsZero() {
				t.Errorf("%s: %v", line, err)
			}
			written = append(written, record.ID+string(record.Body))
		}
		if !slices.Equal(written, []string{`event-002{"order":2}`, `event-005{"order":5}`, `event-008{"order":8}`}) {
			t.Errorf("written %v", written)
		}
		r.awaitDepth(r.names.DeadLetters, 7)
		// It comes back as it was, but for nothing.
		if done, err := r.queue.Import(t.Context(), bytes.NewReader(text), deadletters.Import{}); err != nil || done.Letters != 3 || done.Lines != 3 {
			t.Errorf("%+v, %v", done, err)
		}
		r.awaitDepth(r.names.DeadLetters, 10)
		full := writer(func([]byte) (int, error) { return 0, errors.New("disk is full") })
		if report, err := r.queue.Discard(t.Context(), deadletters.Discard{Reason: "a test", To: full}); err == nil || report.Done != 0 {
			t.Errorf("%+v, %v", report, err)
		}
		r.awaitDepth(r.names.DeadLetters, 10)
	})
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// Export and import bring back every byte, property and type of header.
func TestExportImport(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		all := amqp.Publishing{
			MessageId: "id \xff", Type: "ty", CorrelationId: "co", ReplyTo: "re", ContentType: "te/xt", ContentEncoding: "gz", AppId: "ap", Priority: 7,
			DeliveryMode: amqp.Persistent, Timestamp: time.Unix(1_700_000_001, 0), Body: []byte{0, 1, 0xff, '\n'},
			Headers: amqp.Table{
				"string": "s", "not utf-8": "\xff\xfe", "\xffname": "n", "base64:x": "y", "bytes": []byte{1, 2, 0xff}, "true": true, "nil": nil,
				"int8": int8(-5), "uint8": uint8(200), "int16": int16(-300), "int32": int32(-70_000), "int64": int64(math.MinInt64), "big": int64(math.MaxInt64),
				"float32": float32(0.1), "float64": 0.1, "decimal": amqp.Decimal{Scale: 2, Value: 12345}, "time": time.Unix(1_600_000_000, 0),
				"table": amqp.Table{"a": []any{int64(1), "two", amqp.Table{"three": nil}, []any{}}}, "html": "<a href=\"x\">&</a>\u2028",
				"x-death": []any{amqp.Table{"count": int64(1), "queue": "order.created", "reason": "rejected", "time": time.Unix(1_600_000_000, 0)}},
			},
		}
		text := letter(1)
		text.Body = []byte("text with \"quotes\", \u2028 and \ufffd\n")
		r.put(r.names.DeadLetters, all, text, amqp.Publishing{})
		var file bytes.Buffer
		n, err := r.queue.Export(t.Context(), deadletters.Filter{}, &file)
		if err != nil || n != 3 || strings.Count(file.String(), "\n") != 3 {
			t.Fatalf("%d, %v: %s", n, err, file.String())
		}
		before := r.take(r.names.DeadLetters, 3)
		if got, err := r.queue.Import(t.Context(), strings.NewReader(file.String()), deadletters.Import{DryRun: true}); err != nil || got.Letters != 3 {
			t.Errorf("dry run: %+v, %v", got, err)
		}
		got, err := r.queue.Import(t.Context(), strings.NewReader("\n"+strings.TrimSpace(file.String())), deadletters.Import{})
		if err != nil || got.Letters != 3 || got.Lines != 4 || got.To != r.names.DeadLetters || got.Stripped != 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		after := r.take(r.names.DeadLetters, 3)
		for i := range before {
			for _, d := range []*amqp.Delivery{&before[i], &after[i]} {
				d.Acknowledger, d.DeliveryTag, d.MessageCount, d.Redelivered = nil, 0, 0, false
				delete(d.Headers, "x-delivery-count")
			}
			if !reflect.DeepEqual(before[i], after[i]) {
				t.Errorf("letter %d was\n%+v, and is\n%+v", i, before[i], after[i])
			}
		}
	})
}

// An import ends at a line that is wrong or refused, and says where to go on.
func TestImportRefused(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		const line = `{"queue":"q","id":"1","properties":{},"headers":{},"body":{"text":"x"}}` + "\n"
		for wrong, want := range map[string]string{
			"no JSON": "invalid", `{"unknown":1}`: "unknown", `{"headers":{"n":5}}`: "int64", `{"headers":{"n":{"int64":"x"}}}`: "int64",
			`{"headers":{"n":{"int65":1}}}`: "int65", `{"body":{"text":"a","base64":"YQ=="}}`: "base64",
		} {
			got, err := r.queue.Import(t.Context(), strings.NewReader(line+wrong+"\n"+line), deadletters.Import{})
			if f := fail.From(err); err == nil || f.Kind != fail.Usage || got.Letters != 1 || got.Lines != 1 || !strings.Contains(f.Hint, "--skip 1") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %+v, %v", wrong, got, err)
			}
		}
		if got, err := r.queue.Import(t.Context(), strings.NewReader("no JSON\n"+line), deadletters.Import{Skip: 1}); err != nil || got.Letters != 1 || got.Lines != 2 {
			t.Errorf("%+v, %v", got, err)
		}
		got, err := r.queue.Import(t.Context(), strings.NewReader(line), deadletters.Import{To: deadletters.Destination{Key: "nowhere"}})
		if err == nil || got.Letters != 0 || got.Lines != 0 {
			t.Errorf("%+v, %v", got, err)
		}
		routed := `{"properties":{"userId":"somebody"},"headers":{"CC":{"array":["` + r.names.Queue + `"]}},"body":{"text":"x"}}`
		if got, err := r.queue.Import(t.Context(), strings.NewReader(routed), deadletters.Import{}); err != nil || got.Stripped != 1 {
			t.Errorf("%+v, %v", got, err)
		}
		r.awaitDepth(r.names.DeadLetters, 8)
		r.awaitDepth(r.names.Queue, 0)
	})
}
