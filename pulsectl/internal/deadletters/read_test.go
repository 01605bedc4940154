package deadletters_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/internal/deadletters"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

func (r *rig) survey(q deadletters.Query) deadletters.Survey {
	r.t.Helper()
	s, err := r.queue.Survey(r.t.Context(), q)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func refs(letters []deadletters.Letter) (refs []string) {
	for _, l := range letters {
		refs = append(refs, l.Ref)
	}
	return refs
}

// Reading finds what filters ask for, page by page, and leaves the queue as it was.
func TestSurvey(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(20)
		other := letter(20)
		other.Headers["pulse-last-error"], other.Headers["pulse-reason"] = "", "undecodable"
		r.put(r.names.DeadLetters, other)
		calls := 0
		r.queue.Progress = func(seen, total int) {
			if calls++; seen != calls || total != 21 {
				t.Errorf("progress %d of %d", seen, total)
			}
		}
		s := r.survey(deadletters.Query{Groups: true})
		r.queue.Progress = nil
		if s.Seen != 21 || s.Matched != 21 || len(s.Letters) != 0 || len(s.Groups) != 2 || calls != 21 || s.Queue != r.names.DeadLetters {
			t.Fatalf("%+v", s)
		}
		g := s.Groups[0]
		if g.Count != 20 || g.Error != "mail server refused order <n>" || g.Reason != "handler" || g.Example.Ref != "event-000" ||
			!g.First.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || !g.Last.Equal(time.Date(2026, 1, 1, 0, 0, 19, 0, time.UTC)) {
			t.Errorf("group %+v", g)
		}
		var paged []string
		pages := 0
		for q := (deadletters.Query{Filter: deadletters.Filter{Group: g.ID}, Limit: 8}); ; pages++ {
			s := r.survey(q)
			paged = append(paged, refs(s.Letters)...)
			if s.Matched != 20 {
				t.Errorf("page matched %d", s.Matched)
			}
			if pages == 0 { // those before the cursor go, the page after it stays the same
				if _, ok, err := r.plain.Get(r.names.DeadLetters, true); err != nil || !ok {
					t.Fatal(ok, err)
				}
				r.put(r.names.DeadLetters, letter(0))
			}
			if q.After = s.Next; q.After == "" {
				break
			}
		}
		if pages != 2 || len(paged) != 21 || !slices.IsSorted(paged[:20]) || paged[20] != "event-000" {
			t.Errorf("%d pages: %v", pages+1, paged)
		}
		for name, tc := range map[string]struct {
			filter deadletters.Filter
			want   int
		}{
			"error":      {deadletters.Filter{Error: "REFUSED order 1"}, 11},
			"reason":     {deadletters.Filter{Reason: "undecodable"}, 1},
			"key":        {deadletters.Filter{Key: "key-1"}, 7},
			"topic":      {deadletters.Filter{Topic: "order.created"}, 21},
			"type":       {deadletters.Filter{Type: "Other"}, 0},
			"consumer":   {deadletters.Filter{Consumer: "notifications"}, 21},
			"since":      {deadletters.Filter{Since: time.Date(2026, 1, 1, 0, 0, 15, 0, time.UTC)}, 6},
			"until":      {deadletters.Filter{Until: time.Date(2026, 1, 1, 0, 0, 15, 0, time.UTC)}, 15},
			"attempts":   {deadletters.Filter{MinAttempts: 4, MaxAttempts: 4}, 4},
			"refs":       {deadletters.Filter{Refs: map[string]bool{"event-003": true, "event-999": true}}, 1},
			"no refs":    {deadletters.Filter{Refs: map[string]bool{}}, 0},
			"without id": {deadletters.Filter{WithoutID: true}, 0},
		} {
			if s := r.survey(deadletters.Query{Filter: tc.filter}); s.Matched != tc.want || s.Seen != 21 || tc.filter.All() {
				t.Errorf("%s: %d of %d, want %d", name, s.Matched, s.Seen, tc.want)
			}
		}
		if !(deadletters.Filter{}).All() {
			t.Error("the zero filter does not select all")
		}
	})
}

// One letter is shown with everything, whoever wrote it.
func TestGetForeign(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		at := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
		mass := amqp.Publishing{ContentType: "application/vnd.masstransit+json; charset=utf-8", Body: []byte(`{"messageId":"m-1","conversationId":"cv-1",
			"sourceAddress":"rabbitmq://host/orders","messageType":["urn:message:Shop:OrderPlaced"],"message":{"total":7},"sentTime":"2026-01-01T00:00:00Z"}`),
			Headers: amqp.Table{"MT-Reason": "fault", "MT-Fault-Message": "no such customer 5", "MT-Fault-ConsumerType": "Shop.Mailer", "MT-Fault-Timestamp": "2026-02-03T04:05:06Z"}}
		structured := amqp.Publishing{ContentType: "application/cloudevents+json", Body: []byte(`{"specversion":"1.0","id":"7","source":"/shop","type":"order.placed","data":{"total":7}}`)}
		binary := amqp.Publishing{ContentType: "application/json", Body: []byte(`{"total":7}`), MessageId: "own-id",
			Headers: amqp.Table{"cloudEvents:specversion": "1.0", "cloudEvents:id": "8", "cloudEvents:source": "/shop", "cloudEvents:type": "order.placed"}}
		nest := amqp.Publishing{Body: []byte(`{"pattern":"stock.changed","data":{"left":3}}`)}
		broken := amqp.Publishing{ContentType: "application/vnd.masstransit+json", Body: []byte(`{"messageId":`)}
		shovelled := letter(3)
		shovelled.Headers["x-shovelled"] = []any{amqp.Table{"src-queue": "old.dlq", "shovelled-by": "cluster"}}
		shovelled.Headers["x-death"] = []any{amqp.Table{"queue": "order.created", "reason": "delivery_limit", "exchange": "shop", "count": int64(4),
			"routing-keys": []any{"order.placed"}, "time": at}}
		delete(shovelled.Headers, "pulse-reason")
		delete(shovelled.Headers, "pulse-topic")
		r.put(r.names.DeadLetters, mass, structured, binary, nest, broken, shovelled, amqp.Publishing{})
		s := r.survey(deadletters.Query{Limit: 10, Groups: true})
		if len(s.Letters) != 7 {
			t.Fatalf("%+v", s)
		}
		one := func(n int) deadletters.Detail {
			t.Helper()
			found, err := r.queue.Get(t.Context(), s.Letters[n].Ref)
			if err != nil || len(found) != 1 {
				t.Fatalf("letter %d, %q: %d found, %v", n, s.Letters[n].Ref, len(found), err)
			}
			return found[0]
		}
		if d := one(0); d.Ref != "m-1" || d.Type != "Shop:OrderPlaced" || d.Reason != "fault" || d.Error != "no such customer 5" || d.Format != "MassTransit" ||
			d.Consumer != "Shop.Mailer" || !d.LastFailedAt.Equal(at) || d.CorrelationID != "cv-1" || string(d.Envelope.Payload) != `{"total":7}` || d.Envelope.Problem != "" {
			t.Errorf("MassTransit: %+v", d)
		}
		if d := one(1); d.Ref != "/shop/7" || d.Type != "order.placed" || d.Format != "CloudEvents" || string(d.Envelope.Payload) != `{"total":7}` {
			t.Errorf("structured: %+v %+v", d, d.Envelope)
		}
		if d := one(2); d.Ref != "own-id" || d.Type != "order.placed" || d.Envelope.Attributes["id"] != "8" {
			t.Errorf("binary: %+v %+v", d, d.Envelope)
		}
		if d := one(3); !strings.HasPrefix(d.Ref, "noid-") || d.Type != "stock.changed" || d.Format != "NestJS" || string(d.Envelope.Payload) != `{"left":3}` {
			t.Errorf("NestJS: %+v %+v", d, d.Envelope)
		}
		if d := one(4); d.Envelope == nil || d.Envelope.Problem == "" {
			t.Errorf("broken: %+v", d)
		}
		d := one(5)
		if d.Topic != "order.placed" || d.Reason != "delivery_limit" || len(d.Deaths) != 1 || d.Deaths[0].Count != 4 || !d.Deaths[0].At.Equal(at) ||
			len(d.Travels) != 1 || d.Travels[0].By != "shovel" || fmt.Sprint(d.Travels[0].Fields) != "[{shovelled-by cluster} {src-queue old.dlq}]" {
			t.Errorf("shovelled: %+v", d)
		}
		if _, err := r.queue.Get(t.Context(), "nobody"); fail.From(err).Kind != fail.NotFound {
			t.Errorf("nobody: %v", err)
		}
	})
}

// While somebody else consumes the queue nothing is read, and it is said why.
func TestReadInUse(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.fill(1)
		if _, err := r.plain.Consume(r.names.DeadLetters, "other", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		_, err := r.queue.Survey(t.Context(), deadletters.Query{})
		if f, ok := errors.AsType[*fail.Error](err); !ok || f.Hint == "" || !strings.Contains(f.Error(), "in use") {
			t.Errorf("%v", err)
		}
	})
}

// A queue that does not exist holds no dead letters.
func TestReadNoQueue(t *testing.T) {
	onBrokers(t, func(t *testing.T, r *rig) {
		r.queue.Name = "nowhere.dlq"
		if s := r.survey(deadletters.Query{Groups: true, Limit: 5}); s.Seen != 0 || s.Queue != "nowhere.dlq" {
			t.Errorf("%+v", s)
		}
	})
}
