package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

func TestFramesComeBackAsWritten(t *testing.T) {
	props := (&wire.Properties{MessageID: new(string)}).Append(nil)
	body := bytes.Repeat([]byte("body"), 30000)
	var stream []byte
	stream = wire.AppendMethod(stream, 7, &wire.QueueDelete{Queue: "q", IfEmpty: true})
	stream = wire.AppendHeartbeat(stream)
	stream = wire.AppendContent(stream, 7, props, body, 100000)
	// One octet at a time: frames must not depend on how the network splits the stream.
	r := wire.NewReader(iotest.OneByteReader(bytes.NewReader(stream)))
	r.SetFrameMax(100000)

	f := next(t, r)
	m, err := wire.ParseMethod(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := m.(*wire.QueueDelete); !ok || f.Channel != 7 || *d != (wire.QueueDelete{Queue: "q", IfEmpty: true}) {
		t.Fatalf("channel %d: %#v", f.Channel, m)
	}
	if f = next(t, r); f.Type != wire.FrameHeartbeat || len(f.Payload) != 0 {
		t.Fatalf("got %v, want a heartbeat", f)
	}
	f = next(t, r)
	h, err := wire.ParseContentHeader(f.Payload)
	if err != nil || h.BodySize != uint64(len(body)) || !bytes.Equal(h.Properties, props) {
		t.Fatalf("header %+v, %v", h, err)
	}
	var got []byte
	for len(got) < len(body) {
		f = next(t, r)
		if f.Type != wire.FrameBody || len(f.Payload) > 100000-wire.FrameOverhead {
			t.Fatalf("type %d of %d bytes", f.Type, len(f.Payload))
		}
		got = append(got, f.Payload...)
	}
	if !bytes.Equal(got, body) {
		t.Fatal("the body differs")
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

// slowly yields a few octets at a time, and a timeout in between.
type slowly struct {
	r     io.Reader
	tired bool
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.tired = !s.tired; s.tired {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(p[:min(len(p), 1000)])
}

func TestReadingGoesOnAfterATimeout(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 20000)
	stream := wire.AppendContent(wire.AppendHeartbeat(nil), 1, []byte{0, 0}, body, 120000)
	r := wire.NewReader(&slowly{r: bytes.NewReader(stream)})
	r.SetFrameMax(120000)
	var got []byte
	for len(got) < len(body) {
		f, err := r.Next()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == wire.FrameBody {
			got = append(got, f.Payload...)
		}
	}
	if !bytes.Equal(got, body) {
		t.Error("the body differs")
	}
}

func next(t *testing.T, r *wire.Reader) wire.Frame {
	t.Helper()
	f, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMalformedFrames(t *testing.T) {
	frame := func(kind byte, size uint32, payload string, end byte) string {
		return string(binary.BigEndian.AppendUint32([]byte{kind, 0, 1}, size)) + payload + string([]byte{end})
	}
	for _, c := range []struct{ name, stream, complaint string }{
		{"wrong end", frame(1, 4, "abcd", 0xCD), `type 1, all octets = <<"abcd">>: {invalid_frame_end_marker,205}`},
		{"too large", frame(3, 4097, "", 0), "type 3, all octets = <<>>: {frame_too_large,4097,4088}"},
		{"absurdly large", frame(3, 0xFFFFFFFF, "", 0), "{frame_too_large,4294967295,4088}"},
	} {
		_, err := wire.NewReader(strings.NewReader(c.stream)).Next()
		if !errors.Is(err, wire.ErrMalformed) || !strings.Contains(err.Error(), c.complaint) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	_, err := wire.NewReader(strings.NewReader(frame(1, 10, "cut", 0xCE))).Next()
	if err == nil || errors.Is(err, wire.ErrMalformed) {
		t.Errorf("cut short by the network: %v", err)
	}
}
