package relay

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox"
	outboxrabbit "github.com/asimalizada/pulse-events/outbox/rabbitmq"
	"github.com/asimalizada/pulse-events/outbox/wire"
	"github.com/asimalizada/pulse-events/outbox/wire/cloudevents"
	"github.com/asimalizada/pulse-events/outbox/wire/nestjs"
)

func TestParse(t *testing.T) {
	wants := func(what string, got any, err error, want any) {
		t.Helper()
		if err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", what, got, err, want)
		}
	}
	fails := func(what string, err error, says string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want %q", what, err, says)
		}
	}
	for text, want := range map[string]time.Duration{"168h": 168 * time.Hour, "forever": outbox.KeepForever, "delete": outbox.DeleteOnPublish} {
		got, err := ParseRetention(text)
		wants(text, got, err, want)
	}
	for _, text := range []string{"", "0", "0s", "-1h", "never", "7d"} {
		_, err := ParseRetention(text)
		fails(text, err, "is neither a duration")
	}
	for text, want := range map[string]outboxrabbit.Topology{"declare": outboxrabbit.Declare, "verify": outboxrabbit.Verify, "none": outboxrabbit.None} {
		got, err := ParseTopology(text)
		wants(text, got, err, want)
	}
	for text, want := range map[string]wire.Encoder{
		"plain": nil, "cloudevents": cloudevents.Codec{Source: "/orders"}, "cloudevents-structured": cloudevents.Codec{Source: "/orders", Structured: true},
	} {
		source := ""
		if want != nil {
			source = "/orders"
		}
		got, err := ParseFormat(text, source)
		wants(text, got, err, want)
	}
	if got, err := ParseFormat("nestjs", ""); err != nil || got.(nestjs.Codec).Pattern != nil {
		t.Errorf("nestjs: %v, %v", got, err)
	}
	_, err := ParseFormat("cloudevents", "http://[")
	fails("source", err, "Source:")
	for text, want := range map[string]string{"off": "", ":6108": ":6108", "127.0.0.1:0": "127.0.0.1:0", "[::1]:80": "[::1]:80"} {
		got, err := ParseAddr(text)
		wants(text, got, err, want)
	}
	for _, text := range []string{"", "6108", "127.0.0.1", "127.0.0.1:http", ":70000"} {
		_, err := ParseAddr(text)
		fails(text, err, "is neither HOST:PORT")
	}
}

type failing struct{ called *bool }

var errEncoder = errors.New("the encoder's")

func (f failing) Encode(*wire.Message) error { *f.called = true; return errEncoder }

func TestCheckedJSON(t *testing.T) {
	for _, c := range []struct {
		contentType, payload string
		says                 string // empty: it passes
	}{
		{"application/json", `{"a":[1,"ü\n\\"]}`, ""},
		{"application/json", ``, ""},
		{"application/json", `null`, ""},
		{"application/json", `{"a":1`, "unexpected end of JSON input (byte 6)"},
		{"application/json", `{"a":1}}`, "invalid character '}' after top-level value (byte 8)"},
		{"application/json", "\"\xff\"", "not UTF-8"},
		{"application/cloudevents+json; charset=utf-8", `a`, "is not JSON, as content_type application/cloudevents+json; charset=utf-8 says"},
		{"text/plain", `a`, ""},
		{"", `a`, ""},
		{"no/such type;;", `a`, ""},
	} {
		err := checkedJSON{}.Encode(&wire.Message{ContentType: c.contentType, Payload: []byte(c.payload)})
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s %q: %v; want %q", c.contentType, c.payload, err, c.says)
		}
	}
	called := false
	next := checkedJSON{failing{&called}}
	if err := next.Encode(&wire.Message{ContentType: "application/json", Payload: []byte(`{`)}); err == nil || called {
		t.Errorf("%v; the encoder was called: %v", err, called)
	}
	if err := next.Encode(&wire.Message{ContentType: "application/json", Payload: []byte(`{}`)}); !errors.Is(err, errEncoder) || next.Validate() != nil {
		t.Errorf("%v", err)
	}
	if err := (checkedJSON{cloudevents.Codec{}}).Validate(); err == nil {
		t.Error("settings of the encoder are not validated")
	}
}
