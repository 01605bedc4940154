package devbroker

import (
	"sync"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

const (
	// fullAt is how much may wait to be sent to a client before it gets no further deliveries, in bytes.
	fullAt = 1 << 20
	// stalledAt is how much may wait before nothing more is read from the client either.
	stalledAt = 4 << 20
	// keepBuffer is the largest buffer kept for reuse.
	keepBuffer = 1 << 20
)

// outbound is what waits to be sent to one client. Anybody appends; the connection's writer takes. Frames of one call
// stay together, and leave in the order of the calls.
type outbound struct {
	mu       sync.Mutex
	changed  sync.Cond // mu
	buf      []byte
	barrier  journal.Position // the journal must have written up to here before buf leaves
	beat     bool             // a heartbeat is due
	closed   bool             // nothing more is accepted; the writer ends once buf is sent
	ended    bool             // it has
	starved  bool             // deliveries were refused because it was full
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

// after lets nothing that was queued leave before the journal has written up to pos.
func (o *outbound) after(pos journal.Position) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.barrier = max(o.barrier, pos)
}

// heartbeat queues a heartbeat unless something is on its way anyhow.
func (o *outbound) heartbeat() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.beat = true
	o.changed.Broadcast()
}

// full tells whether the client has enough to read; if so, the writer calls for more deliveries when it has sent some.
func (o *outbound) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.buf) < fullAt {
		return false
	}
	o.starved = true
	return true
}

// waiting tells how much waits to be sent, in bytes.
func (o *outbound) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.buf)
}

// awaitSent waits until the writer has sent all that is queued, or gave up. Nothing more may be queued.
func (o *outbound) awaitSent() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.ended {
		o.changed.Wait()
	}
}

// end notes that the writer is done.
func (o *outbound) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.Broadcast()
}

// awaitRoom waits while far too much is waiting to be sent: a client that asks without reading the answers.
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

// batch is what a writer sends at once.
type batch struct {
	bytes   []byte
	barrier journal.Position
	starved bool
}

// take waits for something to send. used is the batch sent before, whose buffer may be reused. It returns false when
// there will be nothing more.
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

// setFrameMax takes over the agreed size of frames.
func (o *outbound) setFrameMax(n uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.frameMax = n
}
