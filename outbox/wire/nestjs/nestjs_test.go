package nestjs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

func Example() {
	codec := nestjs.Codec{} // for PublisherConfig.Codec, and rabbitmq.Decode of the inbox
	m := wire.Message{ID: "e1", Topic: "order.created", Type: "OrderCreated", ContentType: "application/json", Payload: []byte(`{"total":77.5}`)}
	if err := codec.Encode(&m); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s\n", m.Payload)

	// What a NestJS service emits has no type; the pattern stands in for it.
	emitted := wire.Message{ID: "n1", Topic: "queue", Payload: []byte(`{"pattern":"stock.changed","data":{"left":3}}`)}
	if err := codec.Decode(&emitted); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%s %s\n", emitted.Type, emitted.Payload)
	// Output:
	// {"pattern":"order.created","data":{"total":77.5}}
	// stock.changed {"left":3}
}

func TestEncode(t *testing.T) {
	byType := nestjs.Codec{Pattern: func(m wire.Message) string { return m.Type }}
	for _, c := range []struct {
		about             string
		codec             nestjs.Codec
		contentType, body string
		want              string // with "error": what it says
	}{
		{"an object", nestjs.Codec{}, "application/json", `{"n":9007199254740993, "t":"<ö>"}`, `{"pattern":"a \"b\"","data":{"n":9007199254740993, "t":"<ö>"}}`},
		{"a pattern of one's own", byType, "application/json; charset=utf-8", `[1]`, `{"pattern":"T","data":[1]}`},
		{"nothing", nestjs.Codec{}, "text/plain", ``, `{"pattern":"a \"b\"","data":null}`},
		{"text", nestjs.Codec{}, "text/plain", `"x"`, "error: text/plain"},
		{"two values", nestjs.Codec{}, "application/json", `1,"id":2`, "error: not JSON"},
	} {
		payload := []byte(c.body)
		m := wire.Message{ID: "e1", Topic: `a "b"`, Type: "T", ContentType: c.contentType, Payload: payload}
		err := c.codec.Encode(&m)
		if says, fails := strings.CutPrefix(c.want, "error: "); fails {
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: error %v, want %q", c.about, err, says)
			}
			continue
		}
		if err != nil || string(m.Payload) != c.want || m.ContentType != "application/json" || string(payload) != c.body {
			t.Errorf("%s: %s, %v; want %s", c.about, m.Payload, err, c.want)
		}
		if err := c.codec.Decode(&m); err != nil || m.Topic != `a "b"` || m.Type != "T" || c.body != "" && string(m.Payload) != c.body {
			t.Errorf("%s: decoded %s, topic %s, type %s, %v", c.about, m.Payload, m.Topic, m.Type, err)
		}
	}
}

func TestDecode(t *testing.T) {
	for _, c := range []struct{ about, body, pattern, payload string }{
		{"an event", `{"pattern":"p","data":{"a" : 1}}`, "p", `{"a" : 1}`},
		{"no data", `{"pattern":"p"}`, "p", `null`},
		{"a request", `{"pattern":{"cmd": "total"},"data":[1],"id":"x"}`, `{"cmd":"total"}`, `[1]`},
		{"no envelope", `{"data":1}`, "", `{"data":1}`},
		{"another case", `{"Pattern":"p"}`, "", `{"Pattern":"p"}`},
		{"no object", `["pattern"]`, "", `["pattern"]`},
		{"no JSON", "\x1f\x8b", "", "\x1f\x8b"},
	} {
		m := wire.Message{Topic: "queue", Payload: []byte(c.body)}
		topic := "queue"
		if c.pattern != "" {
			topic = c.pattern
		}
		if err := (nestjs.Codec{}).Decode(&m); err != nil || m.Type != c.pattern || m.Topic != topic || string(m.Payload) != c.payload {
			t.Errorf("%s: type %q, topic %q, payload %s, %v", c.about, m.Type, m.Topic, m.Payload, err)
		}
	}
}
