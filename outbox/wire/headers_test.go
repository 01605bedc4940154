package wire_test

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/outbox/wire"
)

// full has a value in every field.
func full() wire.Message {
	return wire.Message{
		ID: "e1", Topic: "order.created", Type: "OrderCreated", Version: 2, Key: "order-7", Seq: 1<<53 + 1, Payload: []byte(`{"total":1}`),
		ContentType: "application/json", ContentEncoding: "gzip", Headers: map[string]string{"tenant": "acme", wire.HeaderTraceParent: "00-1-2-01"},
		CorrelationID: "c1", CausationID: "e0", Producer: "orders", OccurredAt: time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC),
		Signature: "alg=HS256&kid=1&sig=x", Encryption: "alg=A256GCM&kid=2",
	}
}

func requireEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// A broker without properties carries everything in headers, as text or bytes.
func TestAllHeadersCarryEverything(t *testing.T) {
	m := full()
	for v, i := reflect.ValueOf(m), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Fatalf("full leaves out %s", v.Type().Field(i).Name)
		}
	}
	headers := wire.AllHeaders(m)
	got := wire.Message{Payload: m.Payload}
	if err := wire.ReadHeaders(&got, headers); err != nil {
		t.Fatal(err)
	}
	requireEqual(t, "from text", got, m)

	raw := make(map[string][]byte)
	for name, value := range headers {
		raw[name] = []byte(value)
	}
	got = wire.Message{Payload: m.Payload}
	if err := wire.ReadHeaders(&got, raw); err != nil {
		t.Fatal(err)
	}
	requireEqual(t, "from bytes", got, m)
}

func TestAllHeadersLeaveOutWhatIsEmpty(t *testing.T) {
	requireEqual(t, "headers", wire.AllHeaders(wire.Message{ID: "e1", Topic: "t"}), map[string]string{wire.HeaderID: "e1", wire.HeaderTopic: "t"})
}

// Properties count before headers, but for the topic and the time.
func TestReadHeadersBesideProperties(t *testing.T) {
	m := full()
	properties := wire.Message{
		ID: "p", Topic: "queue", Type: "P", ContentType: "text/plain", ContentEncoding: "br", CorrelationID: "pc", Producer: "pp",
		OccurredAt: time.Unix(1, 0), Payload: m.Payload,
	}
	got := properties
	if err := wire.ReadHeaders(&got, wire.AllHeaders(m)); err != nil {
		t.Fatal(err)
	}
	want := properties
	want.Signature, want.Encryption = m.Signature, m.Encryption
	want.Topic, want.OccurredAt, want.Version, want.Key, want.Seq = m.Topic, m.OccurredAt, m.Version, m.Key, m.Seq
	want.CausationID, want.Headers = m.CausationID, m.Headers
	requireEqual(t, "message", got, want)
}

// The caller's map is neither kept nor written to, and no header of the
// producer's replaces one of the contract.
func TestReadHeadersPrefersContract(t *testing.T) {
	own := map[string]string{wire.HeaderTopic: "other"}
	headers := wire.Headers(wire.Message{Topic: "t", Headers: own})
	if headers[wire.HeaderTopic] != "t" || own[wire.HeaderTopic] != "other" {
		t.Errorf("header %v, the producer's %v", headers, own)
	}
}

func TestReadHeadersInvalidTime(t *testing.T) {
	m := wire.Message{OccurredAt: time.Unix(1, 0)}
	err := wire.ReadHeaders(&m, map[string]string{wire.HeaderOccurredAt: "yesterday", "tenant": "acme", wire.HeaderKey: "k"})
	if !errors.Is(err, wire.ErrUndecodable) || !strings.Contains(err.Error(), wire.HeaderOccurredAt) {
		t.Errorf("error %v", err)
	}
	if m.Key != "k" || m.Headers["tenant"] != "acme" || !m.OccurredAt.Equal(time.Unix(1, 0)) {
		t.Errorf("read %+v", m)
	}
}

func TestReadHeadersInvalidVersion(t *testing.T) {
	for _, version := range []string{"0", "-1", "1000001", "1.5", "two"} {
		var m wire.Message
		err := wire.ReadHeaders(&m, map[string]string{wire.HeaderVersion: version, "tenant": "acme"})
		if !errors.Is(err, wire.ErrUndecodable) || !strings.Contains(err.Error(), wire.HeaderVersion) || m.Version != 0 || m.Headers["tenant"] != "acme" {
			t.Errorf("%s: %v, read %+v", version, err, m)
		}
	}
}

func TestReadHeadersScalars(t *testing.T) {
	var m wire.Message
	if err := wire.ReadHeaders(&m, map[string]any{
		"bool": true, "int8": int8(-1), "int16": int16(2), "int32": int32(3), "int64": int64(4), "uint8": uint8(5), "float": 1.5,
		"bytes": []byte("b"), "time": time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), "nil": nil, "list": []any{1}, wire.HeaderSeq: int32(7),
	}); err != nil || m.Seq != 7 {
		t.Fatalf("%+v, %v", m, err)
	}
	want := map[string]string{"bool": "true", "int8": "-1", "int16": "2", "int32": "3", "int64": "4",
		"uint8": "5", "float": "1.5", "bytes": "b", "time": "2026-03-01T12:00:00Z"}
	if !maps.Equal(m.Headers, want) {
		t.Errorf("headers %v, want %v", m.Headers, want)
	}
}

func TestCheckID(t *testing.T) {
	for _, id := range []string{"", " \t", "\xff", "a\x00b"} {
		if err := wire.CheckID(id); !errors.Is(err, wire.ErrUndecodable) {
			t.Errorf("%q: %v, want ErrUndecodable", id, err)
		}
	}
	if err := wire.CheckID("7"); err != nil {
		t.Error(err)
	}
}

func TestReservedHeader(t *testing.T) {
	for _, name := range []string{wire.HeaderCorrelationID, wire.HeaderCausationID, wire.HeaderTopic, wire.HeaderSeq, wire.HeaderID, "pulse-anything",
		"CC", "BCC", "x-death", "x-first-death-queue", "x-last-death-reason", "x-delivery-count", "x-acquired-count"} {
		if !wire.ReservedHeader(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
	for _, name := range []string{wire.HeaderTraceParent, wire.HeaderTraceState, "tenant", "x-own", "cc", "pulse", ""} {
		if wire.ReservedHeader(name) {
			t.Errorf("%s is reserved", name)
		}
	}
}
