package cloudevents_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
)

func event() wire.Message {
	return wire.Message{
		ID: "0190b7a2", Topic: "order.created", Type: "OrderCreated", Version: 2, Key: "order-7", Seq: 4, Payload: []byte(`{"total": 77.5}`),
		ContentType: "application/json", Headers: map[string]string{"tenant": "acme", wire.HeaderTraceParent: "00-1-2-01", wire.HeaderTraceState: "a=b"},
		CorrelationID: "c1", CausationID: "e0", Producer: "orders", OccurredAt: time.Date(2026, 3, 1, 12, 0, 0, 5000, time.UTC),
	}
}

func ExampleCodec_binary() {
	codec := cloudevents.Codec{Source: "/orders"}
	m := wire.Message{ID: "e1", Type: "OrderCreated", ContentType: "application/json", Payload: []byte(`{"total":77.5}`)}
	if err := codec.Encode(&m); err != nil {
		fmt.Println(err)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		fmt.Println(name, m.Headers[name])
	}
	fmt.Printf("%s\n", m.Payload)
	// Output:
	// cloudEvents:id e1
	// cloudEvents:source /orders
	// cloudEvents:specversion 1.0
	// cloudEvents:type OrderCreated
	// {"total":77.5}
}

func ExampleCodec_structured() {
	codec := cloudevents.Codec{Source: "/orders", Structured: true}
	m := wire.Message{ID: "e1", Type: "OrderCreated", ContentType: "application/json", Payload: []byte(`{"total":77.5}`)}
	if err := codec.Encode(&m); err != nil {
		fmt.Println(err)
	}
	fmt.Println(m.ContentType)
	fmt.Printf("%s\n", m.Payload)
	// Output:
	// application/cloudevents+json; charset=utf-8
	// {"datacontenttype":"application/json","id":"e1","source":"/orders","specversion":"1.0","type":"OrderCreated","data":{"total":77.5}}
}

// A decoder reads what an encoder has made, with properties and headers or
// without.
func TestCodecRoundTrip(t *testing.T) {
	payloads := map[string][]byte{
		"application/json": []byte(`{"total": 77.5, "t": "<ö>"}`), "application/json; charset=utf-8": []byte("{"), "application/vnd.order+json": []byte("[1]"),
		"text/plain": []byte("größe \"x\""), "application/octet-stream": {0, 0xff, '"'}, "text/csv": {0xff},
	}
	for _, structured := range []bool{false, true} {
		codec := cloudevents.Codec{Source: "/orders", Structured: structured}
		for contentType, payload := range payloads {
			name := fmt.Sprintf("structured %t, %s", structured, contentType)
			sent := event()
			sent.ContentType, sent.Payload = contentType, payload
			want := sent
			sent.Headers = maps.Clone(sent.Headers)
			if err := codec.Encode(&sent); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			bare := wire.Message{Payload: sent.Payload, ContentType: sent.ContentType}
			if !structured {
				bare.Headers = maps.Clone(sent.Headers)
			}
			if err := codec.Decode(&sent); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := sent
			got.Headers = maps.Clone(sent.Headers)
			maps.DeleteFunc(got.Headers, func(name, _ string) bool { return strings.HasPrefix(name, cloudevents.Prefix) })
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
			}
			if err := codec.Decode(&bare); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if bare.ID != "/orders/0190b7a2" || bare.Type != "OrderCreated" || bare.Key != "order-7" || bare.CorrelationID != "c1" || bare.CausationID != "e0" || bare.Version != 2 ||
				!bare.OccurredAt.Equal(want.OccurredAt) || bare.ContentType != contentType || string(bare.Payload) != string(payload) ||
				bare.Headers[wire.HeaderTraceParent] != "00-1-2-01" || bare.Headers[wire.HeaderTraceState] != "a=b" || bare.Headers["cloudEvents:source"] != "/orders" {
				t.Errorf("%s: without properties and other headers: %+v", name, bare)
			}
		}
	}
}

func TestStructuredDocument(t *testing.T) {
	m := event()
	m.ContentType, m.Payload = "text/plain", []byte("hello")
	if err := (cloudevents.Codec{Source: "/orders", Structured: true}).Encode(&m); err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(m.Payload, &document); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"specversion": "1.0", "id": "0190b7a2", "source": "/orders", "type": "OrderCreated", "time": "2026-03-01T12:00:00.000005Z",
		"datacontenttype": "text/plain", "partitionkey": "order-7", "correlationid": "c1", "causationid": "e0", "contractversion": "2", "traceparent": "00-1-2-01", "tracestate": "a=b", "data": "hello"}
	if !reflect.DeepEqual(document, want) {
		t.Errorf("got %v, want %v", document, want)
	}
}

func TestDecode(t *testing.T) {
	long := strings.Repeat("x", 250)
	for _, c := range []struct {
		about       string
		contentType string
		headers     map[string]string
		body        string
		id, payload string
		says        string // the error
	}{
		{"underscores", "application/json", map[string]string{"cloudEvents_specversion": "1.0", "cloudEvents_id": "1", "cloudEvents_source": "/s", "cloudEvents_type": "T"}, "{}", "/s/1", "{}", ""},
		{"another message", "application/json", map[string]string{"id": "1"}, `{"specversion":"1.0"}`, "", `{"specversion":"1.0"}`, ""},
		{"no header at all", "", nil, "", "", "", ""},
		{"extensions of other types", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"1","source":"/s","type":"T","n":7,"b":true,"no":null,"data":null}`, "/s/1", "null", ""},
		{"without data", "APPLICATION/CloudEvents+JSON", nil, `{"specversion":"1.0","id":"1","source":"/s","type":"T"}`, "/s/1", "", ""},
		{"a long identity", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"123456","source":"` + long + `","type":"T"}`, "sha256:", "", ""},
		{"no id", "application/cloudevents+json", nil, `{"specversion":"1.0","source":"/s","type":"T"}`, "", "", "attribute id"},
		{"no source", "", map[string]string{"cloudEvents:specversion": "1.0", "cloudEvents:id": "1", "cloudEvents:type": "T"}, "", "", "", "attribute source"},
		{"an old version", "", map[string]string{"cloudEvents:specversion": "0.3"}, "", "", "", `specversion "0.3"`},
		{"a batch", "application/cloudevents-batch+json", nil, `[]`, "", "", "batch"},
		{"no document", "application/cloudevents+json", nil, `[`, "", "", "JSON"},
		{"two payloads", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"1","source":"/s","type":"T","data":1,"data_base64":""}`, "", "", "both"},
		{"no base64", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"1","source":"/s","type":"T","data_base64":"?"}`, "", "", "base64"},
		{"a nested attribute", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"1","source":"/s","type":{}}`, "", "", "attribute type"},
		{"no version of a contract", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"1","source":"/s","type":"T","contractversion":"two"}`, "", "", "attribute contractversion"},
		{"no time", "application/cloudevents+json", nil, `{"specversion":"1.0","id":"1","source":"/s","type":"T","time":"now"}`, "", "", "attribute time"},
	} {
		m := wire.Message{ContentType: c.contentType, Headers: c.headers, Payload: []byte(c.body)}
		switch err := (cloudevents.Codec{}).Decode(&m); {
		case c.says != "":
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: error %v, want %q", c.about, err, c.says)
			}
		case err != nil || !strings.HasPrefix(m.ID, c.id) || (c.id == "") != (m.ID == "") || len(m.ID) > 255 || string(m.Payload) != c.payload:
			t.Errorf("%s: id %q, payload %q, %v", c.about, m.ID, m.Payload, err)
		}
	}
}

// The message's own version counts before the attribute, which may be a number.
func TestDecodeVersion(t *testing.T) {
	for own, want := range map[int]int{0: 3, 2: 2} {
		m := wire.Message{Version: own, ContentType: "application/cloudevents+json", Payload: []byte(`{"specversion":"1.0","id":"1","source":"/s","type":"T","contractversion":3}`)}
		if err := (cloudevents.Codec{}).Decode(&m); err != nil || m.Version != want {
			t.Errorf("version %d before: %d, %v; want %d", own, m.Version, err, want)
		}
	}
}

func TestEncodeNeedsASource(t *testing.T) {
	m := event()
	for _, source := range []string{"", "%zz"} {
		codec := cloudevents.Codec{Source: source}
		if codec.Validate() == nil || codec.Encode(&m) == nil {
			t.Errorf("source %q is taken", source)
		}
	}
	m.Type = ""
	if err := (cloudevents.Codec{Source: "/orders"}).Encode(&m); err == nil || !strings.Contains(err.Error(), "type") {
		t.Errorf("without a type: %v", err)
	}
}
