package wire_test

import (
	"bytes"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// FuzzReader feeds arbitrary octets to the frame reader and to the parser of each frame. Nothing may
// panic, and what parses must come back the same when it is written and parsed again.
func FuzzReader(f *testing.F) {
	props := (&wire.Properties{Headers: everyType}).Append(nil)
	f.Add(wire.AppendMethod(nil, 1, &wire.QueueDeclare{Queue: "q", Arguments: everyType}))
	f.Add(wire.AppendContent(wire.AppendMethod(nil, 1, &wire.BasicPublish{RoutingKey: "q"}), 1, props, []byte("body"), 4096))
	f.Add(wire.AppendHeartbeat(nil))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := wire.NewReader(bytes.NewReader(stream))
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			switch frame.Type {
			case wire.FrameMethod:
				methodComesBack(t, frame.Payload)
			case wire.FrameHeader:
				if h, err := wire.ParseContentHeader(frame.Payload); err == nil {
					propertiesComeBack(t, h.Properties)
				}
			}
		}
	})
}

func methodComesBack(t *testing.T, raw []byte) {
	m, err := wire.ParseMethod(raw)
	if err != nil {
		return
	}
	again, err := wire.ParseMethod(payload(m))
	if err != nil {
		t.Fatalf("%s: %v", wire.Name(m.ID()), err)
	}
	if !bytes.Equal(payload(m), payload(again)) {
		t.Fatalf("%+v came back as %+v", m, again)
	}
}

func propertiesComeBack(t *testing.T, raw []byte) {
	p, err := wire.ParseProperties(raw)
	routing, scanErr := wire.Scan(raw)
	if (err == nil) != (scanErr == nil) {
		t.Fatalf("parsing says %v, scanning says %v", err, scanErr)
	}
	if err != nil {
		return
	}
	if persistent := p.DeliveryMode != nil && *p.DeliveryMode == 2; persistent != (routing.DeliveryMode == 2) {
		t.Fatalf("persistent %v, scanned %v", persistent, (routing.DeliveryMode == 2))
	}
	raw = p.Append(nil)
	again, err := wire.ParseProperties(raw)
	if err != nil || !bytes.Equal(raw, again.Append(nil)) {
		t.Fatalf("%+v came back as %+v, %v", p, again, err)
	}
}
