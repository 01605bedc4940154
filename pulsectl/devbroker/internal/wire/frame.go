// Package wire reads and writes AMQP 0-9-1: frames, methods, content properties
// and field tables, with RabbitMQ's extensions. It checks every length before
// it uses it.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// FrameType is the first octet of a frame.
type FrameType byte

// The frame types of AMQP 0-9-1.
const (
	FrameMethod    FrameType = 1
	FrameHeader    FrameType = 2
	FrameBody      FrameType = 3
	FrameHeartbeat FrameType = 8
)

const (
	frameHeaderSize = 7
	frameEnd        = 0xCE

	// FrameOverhead is the size of a frame without its payload: header and end
	// octet. A negotiated frame-max includes it.
	FrameOverhead = frameHeaderSize + 1
	// FrameMinSize is the frame-max before tuning, and the smallest that a peer
	// may request.
	FrameMinSize = 4096
)

// ErrMalformed is wrapped by every error about a protocol violation of the
// peer, as opposed to a network failure.
var ErrMalformed = errors.New("malformed AMQP")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// FrameError says what is wrong with a frame, in RabbitMQ's words. It is an
// [ErrMalformed].
type FrameError struct{ Text string }

func (e *FrameError) Error() string { return e.Text }

func (e *FrameError) Unwrap() error { return ErrMalformed }

func frameError(kind FrameType, payload []byte, why string, args ...any) error {
	return &FrameError{Text: describe(kind, payload) + ": " + fmt.Sprintf(why, args...)}
}

// describe names a frame by its type and the beginning of its payload.
func describe(kind FrameType, payload []byte) string {
	const shown = 16
	which := "all"
	if len(payload) > shown {
		which, payload = "first 16", payload[:shown]
	}
	return fmt.Sprintf("type %d, %s octets = %s", kind, which, Erlang(payload))
}

// Describe names the frame by its type and the beginning of its payload, in RabbitMQ's words.
func (f Frame) Describe() string { return describe(f.Type, f.Payload) }

// Erlang formats octets as Erlang does: as text if all of them are printable.
func Erlang(b []byte) string {
	printable := len(b) > 0
	numbers := make([]string, len(b))
	for i, c := range b {
		printable = printable && (c >= ' ' && c < 0x7F || c >= '\t' && c <= '\r')
		numbers[i] = strconv.Itoa(int(c))
	}
	if printable {
		return "<<" + strconv.Quote(string(b)) + ">>"
	}
	return "<<" + strings.Join(numbers, ",") + ">>"
}

// Frame is a frame as read, possibly of an unknown type. Payload is only valid
// until the next call of [Reader.Next].
type Frame struct {
	Type    FrameType
	Channel uint16
	Payload []byte
}

// Reader reads frames. It is not safe for concurrent use.
type Reader struct {
	br       *bufio.Reader
	frameMax uint32
	consumed int    // bytes of br that back the frame returned last
	large    []byte // backs frames that do not fit br
	filled   int    // bytes that a failed read left in large
}

// NewReader returns a reader of frames from r, which refuses frames larger than
// [FrameMinSize] until [Reader.SetFrameMax] is called.
func NewReader(r io.Reader) *Reader {
	return &Reader{br: bufio.NewReaderSize(r, 32<<10), frameMax: FrameMinSize}
}

// SetFrameMax sets the largest frame accepted, in bytes, its header and end octet included.
func (r *Reader) SetFrameMax(n uint32) { r.frameMax = n }

// ReadProtocolHeader reads the eight octets with which a client begins.
func (r *Reader) ReadProtocolHeader() (header [8]byte, err error) {
	_, err = io.ReadFull(r.br, header[:])
	return header, err
}

// Next reads one frame. Errors that wrap [ErrMalformed] are the peer's fault;
// others are the network's. After a network timeout Next may be called again:
// it continues where it was.
func (r *Reader) Next() (Frame, error) {
	if r.consumed > 0 {
		_, _ = r.br.Discard(r.consumed) // peeked before, so it cannot fail
		r.consumed = 0
	}
	header := r.large[:min(r.filled, frameHeaderSize)]
	if len(header) < frameHeaderSize {
		var err error
		if header, err = r.br.Peek(frameHeaderSize); err != nil {
			return Frame{}, err
		}
	}
	f := Frame{Type: FrameType(header[0]), Channel: binary.BigEndian.Uint16(header[1:3])}
	size := binary.BigEndian.Uint32(header[3:7])
	if size > r.frameMax { // like RabbitMQ, which accepts clients that forget the overhead
		return Frame{}, frameError(f.Type, nil, "{frame_too_large,%d,%d}", size, r.frameMax-FrameOverhead)
	}
	whole, err := r.whole(int(size) + FrameOverhead)
	if err != nil {
		return Frame{}, err
	}
	if end := whole[len(whole)-1]; end != frameEnd {
		return Frame{}, frameError(f.Type, whole[frameHeaderSize:len(whole)-1], "{invalid_frame_end_marker,%d}", end)
	}
	f.Payload = whole[frameHeaderSize : len(whole)-1]
	return f, nil
}

// whole returns the n bytes of a frame.
func (r *Reader) whole(n int) ([]byte, error) {
	if n <= r.br.Size() {
		b, err := r.br.Peek(n)
		if err == nil {
			r.consumed = n
		}
		return b, err
	}
	if cap(r.large) < n {
		r.large = make([]byte, n)
	}
	b := r.large[:n]
	if r.filled == 0 { // the header was peeked, so at least that much is available
		r.filled, _ = io.ReadFull(r.br, b[:frameHeaderSize])
	}
	n, err := io.ReadFull(r.br, b[r.filled:])
	if r.filled += n; err == nil {
		r.filled = 0
	}
	return b, err
}

// AppendMethod appends a method frame to dst.
func AppendMethod(dst []byte, channel uint16, m Method) []byte {
	start := len(dst)
	dst = append(dst, byte(FrameMethod), byte(channel>>8), byte(channel), 0, 0, 0, 0)
	c := coder{buf: binary.BigEndian.AppendUint32(dst, m.ID())}
	m.walk(&c)
	return endFrame(c.buf, start)
}

// AppendContent appends a content header frame and as many body frames as
// frameMax requires. props are the property flags and list of a header frame.
func AppendContent(dst []byte, channel uint16, props, body []byte, frameMax uint32) []byte {
	start := len(dst)
	dst = append(dst, byte(FrameHeader), byte(channel>>8), byte(channel), 0, 0, 0, 0)
	dst = append(dst, 0, classBasic, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(len(body)))
	dst = endFrame(append(dst, props...), start)
	for len(body) > 0 {
		n := min(len(body), int(frameMax)-FrameOverhead)
		start = len(dst)
		dst = append(dst, byte(FrameBody), byte(channel>>8), byte(channel), 0, 0, 0, 0)
		dst = endFrame(append(dst, body[:n]...), start)
		body = body[n:]
	}
	return dst
}

// AppendHeartbeat appends a heartbeat frame to dst.
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, byte(FrameHeartbeat), 0, 0, 0, 0, 0, 0, frameEnd)
}

// endFrame writes the size of the frame that began at start and closes it.
func endFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start+3:], uint32(len(dst)-start-frameHeaderSize))
	return append(dst, frameEnd)
}

// ContentHeader is the payload of a header frame. Properties aliases the frame's payload.
type ContentHeader struct {
	Class      uint16
	BodySize   uint64
	Properties []byte
}

// ParseContentHeader parses a header frame's payload; [ParseProperties] and
// [Scan] parse its properties.
func ParseContentHeader(payload []byte) (ContentHeader, error) {
	const fixed = 14 // class, weight, body size and the property flags
	if len(payload) < fixed {
		return ContentHeader{}, malformed("content header of %d bytes", len(payload))
	}
	return ContentHeader{Class: binary.BigEndian.Uint16(payload), BodySize: binary.BigEndian.Uint64(payload[4:]), Properties: payload[12:]}, nil
}
