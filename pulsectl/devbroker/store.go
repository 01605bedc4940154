package devbroker

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// recordKind is the first byte of each record of the journal. The numbers are
// part of the format on disk.
type recordKind byte

const (
	recordExchange        recordKind = 1
	recordExchangeRemoved recordKind = 2
	recordQueue           recordKind = 3
	recordQueueRemoved    recordKind = 4
	recordBinding         recordKind = 5
	recordBindingRemoved  recordKind = 6
	recordMessage         recordKind = 7 // arrived in queues, possibly as a dead letter of another
	recordRemoved         recordKind = 8 // left a queue
	recordDelivered       recordKind = 9
	recordVHost           recordKind = 10
	recordVHostRemoved    recordKind = 11
	recordIn              recordKind = 12 // names the virtual host of the next record, unless it is defaultVHost
)

// store writes durable state to the journal. Without a journal it does nothing.
// The broker's lock guards it, unless a method says otherwise.
type store struct {
	journal *journal.Journal
	last    journal.Position // of the last record
	buf     []byte           // reused
}

// append adds a record built in buf.
func (s *store) append(r recordWriter, durable bool) journal.Position {
	s.buf = r[:0]
	if s.journal == nil {
		return 0
	}
	s.last = s.journal.Append(r, durable)
	return s.last
}

func (s *store) record(kind recordKind) recordWriter { return append(s.buf[:0], byte(kind)) }

// recordOf begins a record about something in a virtual host.
func (s *store) recordOf(v *virtualHost, kind recordKind) recordWriter {
	if v.name == defaultVHost {
		return s.record(kind)
	}
	r := s.record(recordIn)
	r.text(v.name)
	return append(r, byte(kind))
}

func (s *store) vhostAdded(name string) { s.append(s.vhostRecord(recordVHost, name), false) }

func (s *store) vhostRemoved(name string) { s.append(s.vhostRecord(recordVHostRemoved, name), false) }

func (s *store) vhostRecord(kind recordKind, name string) recordWriter {
	r := s.record(kind)
	r.text(name)
	return r
}

// recordWriter builds a record.
type recordWriter []byte

func (r *recordWriter) number(n uint64) { *r = binary.AppendUvarint(*r, n) }

func (r *recordWriter) signed(n int64) { *r = binary.AppendVarint(*r, n) }

func (r *recordWriter) bytes(b []byte) {
	r.number(uint64(len(b)))
	*r = append(*r, b...)
}

func (r *recordWriter) text(s string) {
	r.number(uint64(len(s)))
	*r = append(*r, s...)
}

func (r *recordWriter) flags(flags ...bool) {
	var packed byte
	for i, on := range flags {
		if on {
			packed |= 1 << i
		}
	}
	*r = append(*r, packed)
}

func (r *recordWriter) table(t wire.Table) { r.bytes(wire.AppendTable(nil, t)[4:]) }

func (s *store) exchangeAdded(x *exchange) { s.append(s.exchangeRecord(x), false) }

func (s *store) exchangeRecord(x *exchange) recordWriter {
	r := s.recordOf(x.vhost, recordExchange)
	r.text(x.name)
	r.text(x.kind)
	r.flags(x.autoDelete, x.internal)
	r.table(x.arguments)
	return r
}

func (s *store) exchangeRemoved(x *exchange) {
	r := s.recordOf(x.vhost, recordExchangeRemoved)
	r.text(x.name)
	s.append(r, false)
}

func (s *store) queueAdded(q *queue) { s.append(s.queueRecord(q), false) }

func (s *store) queueRecord(q *queue) recordWriter {
	r := s.recordOf(q.vhost, recordQueue)
	r.number(q.id)
	r.text(q.name)
	r.flags(q.autoDelete)
	r.table(q.arguments)
	return r
}

func (s *store) queueRemoved(q *queue) {
	r := s.record(recordQueueRemoved)
	r.number(q.id)
	s.append(r, false)
}

func (s *store) bindingAdded(b *binding) { s.append(s.bindingRecord(recordBinding, b), false) }

func (s *store) bindingRemoved(b *binding) { s.append(s.bindingRecord(recordBindingRemoved, b), false) }

func (s *store) bindingRecord(kind recordKind, b *binding) recordWriter {
	r := s.recordOf(b.source.vhost, kind)
	r.text(b.source.name)
	r.flags(b.queue != nil)
	if b.queue != nil {
		r.text(b.queue.name)
	} else {
		r.text(b.exchange.name)
	}
	r.text(b.key)
	r.table(b.arguments)
	return r
}

// holder is a queue that holds a message, with its delivery count.
type holder struct {
	queue      uint64
	deliveries uint32
}

// enqueued records that a message arrived in queues and, if from is not nil,
// left another at the same moment.
func (s *store) enqueued(m *message, queues []*queue, from *origin) journal.Position {
	if s.journal == nil {
		return 0
	}
	r := s.messageRecord(m)
	if from != nil && from.entry.durable {
		r.number(from.queue.id)
		r.number(from.entry.msg.seq)
	} else {
		r.number(0)
	}
	r.number(uint64(len(queues)))
	for _, q := range queues {
		r.number(q.id)
		r.number(0)
	}
	return s.append(r, true)
}

// heldRecord is the record of a message in a snapshot.
func (s *store) heldRecord(m *message, holders []holder) recordWriter {
	r := s.messageRecord(m)
	r.number(0)
	r.number(uint64(len(holders)))
	for _, h := range holders {
		r.number(h.queue)
		r.number(uint64(h.deliveries))
	}
	return r
}

func (s *store) messageRecord(m *message) recordWriter {
	r := s.record(recordMessage)
	r.number(m.seq)
	r.signed(m.published)
	r.signed(m.expiration)
	r.text(m.exchange)
	r.text(m.key)
	r.bytes(m.props)
	r.bytes(m.body)
	return r
}

// removed records that an entry has left its queue for good.
func (s *store) removed(q *queue, e *entry) {
	r := s.record(recordRemoved)
	r.number(q.id)
	r.number(e.msg.seq)
	s.append(r, false)
}

// delivered records that an entry was delivered, and returns the position of
// the record.
func (s *store) delivered(q *queue, e *entry) journal.Position {
	r := s.record(recordDelivered)
	r.number(q.id)
	r.number(e.msg.seq)
	r.number(uint64(e.deliveries))
	return s.append(r, false)
}

// write writes the journal up to pos to the operating system, unless the disk
// is full: then consumers may go on, and free space. It does not need the lock.
func (s *store) write(pos journal.Position) error {
	if s.journal == nil || pos == 0 {
		return nil
	}
	if err := s.journal.Write(pos); !errors.Is(err, journal.ErrFull) {
		return err
	}
	return nil
}

// awaitSync waits until the journal is on disk up to pos. The lock must not be held.
func (s *store) awaitSync(pos journal.Position) error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Sync(pos)
}

// throttle blocks a publisher while the disk is behind. The lock must not be
// held.
func (s *store) throttle() {
	if s.journal != nil {
		s.journal.Throttle()
	}
}

// close syncs and closes the journal. The lock must not be held.
func (s *store) close() error {
	if s.journal == nil {
		return nil
	}
	return s.journal.Close()
}

// recordReader parses a record. After an error it returns zero values, and ok
// is false.
type recordReader struct {
	b  []byte
	ok bool
}

func (r *recordReader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	return take(r, n, size)
}

func (r *recordReader) signed() int64 {
	n, size := binary.Varint(r.b)
	return take(r, n, size)
}

func take[N int64 | uint64](r *recordReader, n N, size int) N {
	if size <= 0 {
		r.b, r.ok = nil, false
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *recordReader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.b)) || n > math.MaxInt {
		r.b, r.ok = nil, false
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *recordReader) text() string { return string(r.bytes()) }

func (r *recordReader) flags() byte {
	if len(r.b) == 0 {
		r.ok = false
		return 0
	}
	packed := r.b[0]
	r.b = r.b[1:]
	return packed
}

func (r *recordReader) table() wire.Table {
	t, err := wire.DecodeTable(r.bytes())
	r.ok = r.ok && err == nil
	return t
}
