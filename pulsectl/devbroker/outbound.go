package devbroker

import (
	"sync"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const (
	// fullAt is how many bytes may wait to be sent to a client before it gets
	// no further deliveries.
	fullAt = 1 << 20
	// stalledAt is how many bytes may wait before nothing more is read from the
	// client.
	stalledAt = 4 << 20
	// keepBuffer is the largest buffer kept for reuse.
	keepBuffer = 1 << 20
)

// outbound holds the frames that wait to be sent to one client. Any goroutine
// appends; the connection's writer takes. Frames of one call stay together, and
// are sent in the order of the calls.
type outbound struct {
	mu       sync.Mutex
	changed  sync.Cond // mu
	buf      []byte
	barrier  journal.Position // the journal must have written up to here before buf is sent
	beat     bool             // a heartbeat is due
	closed   bool             // no more frames are accepted; the writer ends once buf is sent
	ended    bool             // the writer has ended
	starved  bool             // deliveries were held back because it was full
	frameMax uint32
}

func newOutbound() *outbound {
	o := &outbound{frameMax: wire.FrameMinSize}
	o.changed.L = &o.mu
	return o
}

// method queues a method frame.
func (o *outbound) method(channel uint16, m wire.Method) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.buf = wire.AppendMethod(o.buf, channel, m)
		o.changed.Broadcast()
	}
}

// content queues a method frame and the message that belongs to it.
func (o *outbound) content(channel uint16, m wire.Method, props, body []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.buf = wire.AppendMethod(o.buf, channel, m)
		o.buf = wire.AppendContent(o.buf, channel, props, body, o.frameMax)
		o.changed.Broadcast()
	}
}

// raw queues octets as they are.
func (o *outbound) raw(b string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf = append(o.buf, b...)
	o.changed.Broadcast()
}

// after delays everything queued until the journal has written up to pos.
func (o *outbound) after(pos journal.Position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.barrier = max(o.barrier, pos)
}

// heartbeat queues a heartbeat unless other frames are queued.
func (o *outbound) heartbeat() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.beat = true
	o.changed.Broadcast()
}

// full reports whether enough data waits for the client; then the writer
// requests more deliveries when it has sent some.
func (o *outbound) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) < fullAt {
		return false
	}
	o.starved = true
	return true
}

// waiting returns how many bytes wait to be sent.
func (o *outbound) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)
}

// awaitSent waits until the writer has sent everything queued, or has failed.
// Nothing more may be queued.
func (o *outbound) awaitSent() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.ended {
		o.changed.Wait()
	}
}

// end records that the writer has ended.
func (o *outbound) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

// awaitRoom waits while far too much waits to be sent, to a client that sends
// requests without reading the answers.
func (o *outbound) awaitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) > stalledAt && !o.closed {
		o.changed.Wait()
	}
}

// close lets the writer send what is queued and end.
func (o *outbound) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.changed.Broadcast()
}

// abandon lets the writer end at once.
func (o *outbound) abandon() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.buf = true, nil
	o.changed.Broadcast()
}

// batch is the data of one write.
type batch struct {
	bytes   []byte
	barrier journal.Position
	starved bool
}

// take waits for data to send. used is the previous batch, whose buffer may be
// reused. It returns false when nothing more will follow.
func (o *outbound) take(used []byte) (batch, bool) {
	if cap(used) > keepBuffer {
		used = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.buf) == 0 && !o.beat && !o.closed {
		o.changed.Wait()
	}
	if len(o.buf) == 0 && o.beat && !o.closed {
		o.buf = wire.AppendHeartbeat(o.buf)
	}
	o.beat = false
	if len(o.buf) == 0 {
		return batch{}, false
	}
	next := batch{bytes: o.buf, barrier: o.barrier, starved: o.starved}
	o.buf, o.starved = used[:0], false
	o.changed.Broadcast()
	return next, true
}

// setFrameMax sets the negotiated frame size.
func (o *outbound) setFrameMax(n uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frameMax = n
}
