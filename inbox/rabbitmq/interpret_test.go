package rabbitmq_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

// Other producers put the id elsewhere, or send none.
func TestInterpreterForeignMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) {
		c.Topics = []string{"order.created"}
		c.Interpret = []rabbitmq.Interpreter{
			rabbitmq.IDFromHeader("cloudEvents:source", "cloudEvents:id"), // without reading the rest of the format
			rabbitmq.IDFromHeader("id"),
			rabbitmq.IDFromJSON("source", "id"),
			rabbitmq.IDFromJSON("n"),
			rabbitmq.TypeFromHeader("task"),
			rabbitmq.IDFromBody(),
		}
	})
	deliveries := r.consume(10)
	hash := func(body string) string {
		sum := sha256.Sum256([]byte("13:order.created" + body))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	for _, test := range []struct {
		about    string
		p        amqp.Publishing
		id, kind string
	}{
		{"ours", amqp.Publishing{MessageId: "e1", Type: "OrderCreated", Headers: amqp.Table{"id": "other", "task": "other"}}, "e1", "OrderCreated"},
		{"Celery", amqp.Publishing{CorrelationId: "c1", Headers: amqp.Table{"id": "c1", "task": "mail.send"}, Body: []byte(`[[42],{},{}]`)}, "c1", "mail.send"},
		{"CloudEvents, binary", amqp.Publishing{Headers: amqp.Table{"cloudEvents:id": "1", "cloudEvents:source": "/orders", "id": "no"}}, "/orders/1", ""},
		{"CloudEvents, structured", amqp.Publishing{Body: []byte(`{"specversion":"1.0","id":"ce-2","source":"/orders"}`)}, "/orders/ce-2", ""},
		{"a number", amqp.Publishing{Body: []byte(`{"n":9007199254740993}`)}, "9007199254740993", ""},
		{"a header that is a number", amqp.Publishing{Headers: amqp.Table{"id": int64(7)}}, "7", ""},
		{"NestJS, emit", amqp.Publishing{Body: []byte(`{"pattern":"order.created","data":{}}`)}, hash(`{"pattern":"order.created","data":{}}`), ""},
		{"no JSON", amqp.Publishing{Body: []byte("plain text")}, hash("plain text"), ""},
		{"nothing at all", amqp.Publishing{}, hash(""), ""},
	} {
		r.publishTo(r.cfg.Exchange, "order.created", test.id, func(p *amqp.Publishing) { *p = test.p })
		d := r.receive(deliveries)
		if d.Err != nil || d.Message.ID != test.id || d.Message.Type != test.kind {
			t.Errorf("%s: id %q, type %q, %v; want %q, %q", test.about, d.Message.ID, d.Message.Type, d.Err, test.id, test.kind)
		}
		r.settle(retry(d, 0, nil)) // the copy is read alike
		again := r.receive(deliveries)
		if again.Err != nil || again.Message.ID != test.id || again.Failures != 1 || again.Message.Topic != "order.created" {
			t.Errorf("%s: comes again as %q, failures %d, %v", test.about, again.Message.ID, again.Failures, again.Err)
		}
		r.settle(inbox.Settlement{Delivery: again, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler})
		if letter := r.get(r.names.DeadLetters); letter.MessageId != test.id { // so that readers know the event
			t.Errorf("%s: the dead letter has id %q", test.about, letter.MessageId)
		}
	}
}

// Without an Interpreter they are dead letters, and the error says what to set.
func TestSourceReportsMissingID(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	deliveries := r.consume(10)
	for _, id := range []string{"", " ", "\xff\xfe", "a\x00b"} {
		r.publishTo("", r.names.Queue, "", func(p *amqp.Publishing) { p.MessageId = id })
		d := r.receive(deliveries)
		if d.Err == nil || !strings.Contains(d.Err.Error(), "message_id") || !strings.Contains(d.Err.Error(), "SourceConfig.Interpret") {
			t.Errorf("id %q: %v", id, d.Err)
		}
		r.ack(d)
	}
}

// Formats of others are read before an id is looked for, retries included; what
// breaks a format is a dead letter as it came.
func TestDecodeFormats(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *rabbitmq.SourceConfig) {
		c.Interpret = []rabbitmq.Interpreter{
			rabbitmq.Gunzip(1000), rabbitmq.Decode(cloudevents.Codec{}), rabbitmq.Decode(nestjs.Codec{}), rabbitmq.IDFromJSON("n"),
		}
	})
	deliveries := r.consume(10)
	const document = `{"specversion":"1.0","id":"1","source":"/s","type":"Paid","data":{"n":1}}`
	for about, c := range map[string]struct {
		p                        amqp.Publishing
		id, kind, topic, payload string
	}{
		"CloudEvents, structured and compressed": {amqp.Publishing{ContentType: "application/cloudevents+json", ContentEncoding: "gzip", Body: gzipped(t, document, time.Now())},
			"/s/1", "Paid", r.names.Queue, `{"n":1}`},
		"CloudEvents, binary": {amqp.Publishing{Headers: amqp.Table{"cloudEvents:specversion": "1.0", "cloudEvents:id": "2", "cloudEvents:source": "/s", "cloudEvents:type": "Paid"}, Body: []byte("{}")},
			"/s/2", "Paid", r.names.Queue, "{}"},
		"NestJS": {amqp.Publishing{Body: []byte(`{"pattern":"stock.changed","data":{"n":3}}`)}, "3", "stock.changed", "stock.changed", `{"n":3}`},
	} {
		r.publishTo("", r.names.Queue, "", func(p *amqp.Publishing) { *p = c.p })
		d := r.receive(deliveries)
		for failures := range 2 { // as it comes, and from a retry queue
			m := d.Message
			if d.Err != nil || m.ID != c.id || m.Type != c.kind || m.Topic != c.topic || string(m.Payload) != c.payload || m.Attempt != failures+1 {
				t.Errorf("%s: %+v, %v", about, m, d.Err)
			}
			if failures == 0 {
				r.settle(retry(d, 0, nil))
				d = r.receive(deliveries)
			}
		}
		r.ack(d)
	}
	r.publishTo("", r.names.Queue, "e1", func(p *amqp.Publishing) {
		p.ContentType, p.Body = "application/cloudevents+json", []byte(`{"specversion":"1.0","id":"1","type":"Paid"}`)
	})
	d := r.receive(deliveries)
	if !errors.Is(d.Err, wire.ErrUndecodable) || !strings.Contains(d.Err.Error(), "source") {
		t.Errorf("without a source: %v", d.Err)
	}
	r.ack(d)
}

func gzipped(t *testing.T, text string, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.ModTime = at
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGunzip(t *testing.T) {
	t.Parallel()
	plain := newRig(t)
	unpacking := newRig(t, func(c *rabbitmq.SourceConfig) { c.Interpret = []rabbitmq.Interpreter{rabbitmq.Gunzip(1000)} })
	now := time.Now()
	first, second := gzipped(t, `{"order":1}`, now), gzipped(t, `{"order":1}`, now.Add(time.Second))
	if bytes.Equal(first, second) {
		t.Fatal("compressed alike")
	}
	asItIs := plain.consume(1)
	plain.publish("e1", func(p *amqp.Publishing) { p.ContentEncoding, p.Body = "gzip", first })
	d := plain.receive(asItIs)
	if d.Message.ContentEncoding != "gzip" || !bytes.Equal(d.Message.Payload, first) {
		t.Errorf("as it is: encoding %q, payload %q", d.Message.ContentEncoding, d.Message.Payload)
	}
	deliveries := unpacking.consume(10)
	for _, body := range [][]byte{first, second} {
		unpacking.publish("e1", func(p *amqp.Publishing) { p.ContentEncoding, p.Body = "GZIP", body })
		d := unpacking.receive(deliveries)
		if d.Err != nil || d.Message.ContentEncoding != "" || string(d.Message.Payload) != `{"order":1}` {
			t.Errorf("unpacked: %v, encoding %q, payload %q", d.Err, d.Message.ContentEncoding, d.Message.Payload)
		}
		unpacking.settle(retry(d, 0, nil))
		if d = unpacking.receive(deliveries); string(d.Message.Payload) != `{"order":1}` {
			t.Errorf("comes again as %q", d.Message.Payload)
		}
		unpacking.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonHandler})
		if letter := unpacking.get(unpacking.names.DeadLetters); letter.ContentEncoding != "GZIP" || !bytes.Equal(letter.Body, body) {
			t.Errorf("dead letter: encoding %q, body %q; want it as it came", letter.ContentEncoding, letter.Body)
		}
	}
	for about, body := range map[string][]byte{
		"no gzip": []byte("{}"), "cut short": first[:len(first)-4], "a bomb": gzipped(t, strings.Repeat("0", 100_000), now),
	} {
		unpacking.publish("e2", func(p *amqp.Publishing) { p.ContentEncoding, p.Body = "gzip", body })
		d := unpacking.receive(deliveries)
		if d.Err == nil || !strings.Contains(d.Err.Error(), "gzip") || d.Message.ID != "e2" {
			t.Errorf("%s: %v, message %+v", about, d.Err, d.Message)
		}
		unpacking.settle(inbox.Settlement{Delivery: d, Action: inbox.ActionDeadLetter, Reason: inbox.ReasonUndecodable, Err: d.Err})
		if letter := unpacking.get(unpacking.names.DeadLetters); !bytes.Equal(letter.Body, body) {
			t.Errorf("%s: the dead letter is not as it came", about)
		}
	}
}

// An Interpreter sees all that AMQP carries, and its errors affect that message
// alone.
func TestInterpreterCustom(t *testing.T) {
	t.Parallel()
	uri := ""
	r := newRig(t, func(c *rabbitmq.SourceConfig) {
		c.Topics = []string{"order.created"}
		u, err := amqp.ParseURI(c.URL)
		if err != nil {
			t.Fatal(err)
		}
		uri = u.Username
		c.Interpret = []rabbitmq.Interpreter{func(raw rabbitmq.Raw, msg *inbox.Message) error {
			switch raw.MessageID {
			case "refused":
				return errors.New("not for us")
			case "panics":
				panic("nil pointer")
			}
			list, _ := raw.Headers["list"].([]any)
			msg.Headers["all"] = fmt.Sprint(raw.Exchange == c.Exchange, raw.RoutingKey, raw.Type, raw.CorrelationID, raw.ReplyTo, raw.ContentType,
				raw.ContentEncoding, raw.AppID, raw.UserID, raw.Expiration, raw.Priority, raw.Timestamp.Unix(), len(list), string(raw.Body))
			return nil
		}}
	})
	deliveries := r.consume(10)
	for _, id := range []string{"refused", "panics", "good"} {
		r.publishTo(r.cfg.Exchange, "order.created", id, func(p *amqp.Publishing) {
			p.CorrelationId, p.ReplyTo, p.ContentEncoding, p.UserId, p.Expiration, p.Priority = "c1", "answers", "br", uri, "60000", 5
			p.Headers["list"] = []any{int64(1)}
		})
	}
	for _, want := range []string{"not for us", "panicked: nil pointer"} {
		if d := r.receive(deliveries); d.Err == nil || !strings.Contains(d.Err.Error(), want) || d.Message.ID == "" {
			t.Errorf("%v, want %q", d.Err, want)
		}
	}
	d := r.receive(deliveries)
	want := "true order.created OrderCreated c1 answers application/json br orders " + uri + " 60000 5 1700000000 1 " + `{"id":"good"}`
	if got := d.Message.Headers["all"]; d.Err != nil || strings.ReplaceAll(got, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("%v, saw %q, want %q", d.Err, got, want)
	}
}
