package wire_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

var everyType = wire.Table{
	"bool": true, "int8": int8(-1), "uint8": uint8(200), "int16": int16(-2), "uint16": uint16(60000), "int32": int32(-3),
	"uint32": uint32(4e9), "int64": int64(-4), "uint64": uint64(1 << 63), "float32": float32(0.5), "float64": 0.25,
	"decimal": wire.Decimal{Scale: 2, Value: -314}, "string": "s", "bytes": []byte{0, 1}, "time": time.Unix(1700000000, 0),
	"array": []any{"a", int32(1), nil, []any{}, wire.Table{"b": "c"}}, "table": wire.Table{"nested": wire.Table{}}, "nothing": nil,
}

// TestMethodsRoundTrip fills every field of some methods of each shape.
func TestMethodsRoundTrip(t *testing.T) {
	for _, m := range []wire.Method{
		&wire.ConnectionStart{VersionMinor: 9, ServerProperties: everyType, Mechanisms: "PLAIN", Locales: "en_US"},
		&wire.ConnectionTune{ChannelMax: 2047, FrameMax: 131072, Heartbeat: 60},
		&wire.ConnectionOpen{VirtualHost: "/"},
		&wire.ConnectionClose{ReplyCode: 320, ReplyText: "gone", ClassID: 60, MethodID: 40},
		&wire.ConnectionCloseOk{},
		&wire.ChannelFlow{Active: true},
		&wire.ExchangeDeclare{Exchange: "x", Type: "topic", Passive: true, AutoDelete: true, NoWait: true, Arguments: everyType},
		&wire.ExchangeUnbind{Destination: "d", Source: "s", RoutingKey: "k", Arguments: wire.Table{}},
		&wire.QueueDeclare{Queue: "q", Durable: true, Exclusive: true, Arguments: everyType},
		&wire.QueueDeclareOk{Queue: "q", MessageCount: 1 << 31, ConsumerCount: 2},
		&wire.BasicConsume{Queue: "q", ConsumerTag: "t", NoAck: true, Arguments: wire.Table{}},
		&wire.BasicPublish{Exchange: "x", RoutingKey: "k", Mandatory: true},
		&wire.BasicDeliver{ConsumerTag: "t", DeliveryTag: 1 << 63, Redelivered: true, Exchange: "x", RoutingKey: "k"},
		&wire.BasicNack{DeliveryTag: 5, Multiple: true, Requeue: true},
	} {
		back, err := wire.ParseMethod(payload(m))
		if err != nil {
			t.Errorf("%s: %v", wire.Name(m.ID()), err)
		} else if !reflect.DeepEqual(back, m) {
			t.Errorf("%s came back as\n%+v, was\n%+v", wire.Name(m.ID()), back, m)
		}
	}
}

// payload returns a method frame without header and end.
func payload(m wire.Method) []byte {
	frame := wire.AppendMethod(nil, 1, m)
	return frame[7 : len(frame)-1]
}

func TestMalformedMethods(t *testing.T) {
	whole := payload(&wire.QueueDeclare{Queue: "queue", Arguments: everyType})
	for n := range len(whole) {
		if _, err := wire.ParseMethod(whole[:n]); !errors.Is(err, wire.ErrMalformed) {
			t.Fatalf("cut to %d bytes of %d: %v", n, len(whole), err)
		}
	}
	if _, err := wire.ParseMethod(append(whole, 0)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
	var unknown *wire.ErrUnknownMethod
	if _, err := wire.ParseMethod([]byte{0, 30, 0, 10}); !errors.As(err, &unknown) || !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("access.request: %v", err)
	}
}

func TestDeepNestingIsRefused(t *testing.T) {
	deep := wire.Table{}
	for range 40 {
		deep = wire.Table{"t": deep, "a": []any{}}
	}
	if _, err := wire.DecodeTable(wire.AppendTable(nil, deep)[4:]); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("decoding: %v", err)
	}
	props := wire.Properties{Headers: deep}
	if _, err := wire.Scan(props.Append(nil)); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("scanning: %v", err)
	}
}

func TestPropertiesComeBackAsWritten(t *testing.T) {
	text := func(s string) *string { return &s }
	mode, priority, at := byte(2), byte(0), uint64(1700000000)
	p := wire.Properties{
		ContentType: text("text/plain"), ContentEncoding: text(""), Headers: everyType, DeliveryMode: &mode, Priority: &priority,
		CorrelationID: text("c"), ReplyTo: text("r"), Expiration: text("1000"), MessageID: text("m"), Timestamp: &at,
		Type: text("t"), UserID: text("guest"), AppID: text("a"), ClusterID: text("l"),
	}
	raw := p.Append(nil)
	back, err := wire.ParseProperties(raw)
	if err != nil || !reflect.DeepEqual(back, p) {
		t.Fatalf("came back as %+v, %v", back, err)
	}
	routing, err := wire.Scan(raw)
	if err != nil || !(routing.DeliveryMode == 2) || routing.Expiration != "1000" || routing.UserID != "guest" || routing.Copies {
		t.Fatalf("scanned %+v, %v", routing, err)
	}
	if headers, err := wire.DecodeTable(routing.Headers); err != nil || !reflect.DeepEqual(headers, everyType) {
		t.Fatalf("scanned headers %v, %v", headers, err)
	}
	none, err := wire.ParseProperties((&wire.Properties{}).Append(nil))
	if err != nil || !reflect.DeepEqual(none, wire.Properties{}) {
		t.Fatalf("nothing came back as %+v, %v", none, err)
	}
}
