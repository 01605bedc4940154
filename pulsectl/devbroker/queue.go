package devbroker

import (
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// message is a published message, shared by the queues that hold it. Only the
// counts of its holders change.
type message struct {
	seq           uint64 // order of publishing over all queues
	exchange, key string
	props, body   []byte // property flags and list as in a content header, and the body
	published     int64  // unix milliseconds
	expiration    int64  // milliseconds to live, or none
	refs          int    // entries that hold it
	priority      uint8
	durable       int // entries among them that survive a restart
}

// memory returns what a message counts against the limit, without its entries.
func (m *message) memory() int64 {
	return int64(len(m.props)+len(m.body)+len(m.exchange)+len(m.key)) + messageOverhead
}

// stored returns the approximate size of a message in a snapshot.
func (m *message) stored() int64 { return m.memory() }

// The memory of objects without their content, in bytes, approximately.
const (
	messageOverhead  = 192
	entryOverhead    = 64
	queueOverhead    = 1024
	exchangeOverhead = 512
	bindingOverhead  = 256
	consumerOverhead = 512
)

// entry is a message in one queue, ready or delivered and not acknowledged.
type entry struct {
	msg        *message
	expires    int64 // unix milliseconds; 0: never
	since      int64 // unix milliseconds: when it became ready
	deliveries uint32
	durable    bool // it survives a restart, in the journal if there is one
	copied     bool // a second copy made by a fault
}

// queue holds messages for consumers. The broker's lock guards it.
type queue struct {
	vhost                          *virtualHost
	id                             uint64 // names it in the journal
	name, what                     string // what: its name in error texts
	durable, exclusive, autoDelete bool
	arguments                      wire.Table
	settings                       queueSettings
	owner                          *conn // of an exclusive queue
	deleted                        bool

	backlog   backlog // ready entries
	readySize int64   // bytes of bodies in it
	unacked   int
	stuck     []stuckLetter // unroutable dead letters

	consumers    []*consumer // ordered by priority
	exclusiveUse bool
	bindings     map[*binding]struct{} // bindings to this queue

	dirty  bool   // messages may be deliverable
	routed uint64 // the last routing pass that visited it
	usedAt int64  // unix milliseconds, for x-expires
	wake   *task  // the next check of its head
	expiry *task  // the next check of its use
	retry  *task  // the next retry of stuck
}

// stored reports whether the queue is in the journal. An exclusive queue is
// deleted with its connection, durable or not.
func (q *queue) stored() bool { return q.durable && !q.exclusive }

func (q *queue) ready() int { return q.backlog.count }

// overfull reports whether the queue must drop its head.
func (q *queue) overfull() bool {
	drops := q.settings.overflow == dropHead || q.settings.quorum && q.settings.overflow == rejectPublishDLX
	return drops && q.ready() > 0 && q.exceeds(q.ready(), q.readySize)
}

// refuses reports whether a message with a body of size is refused because the
// queue is full.
func (q *queue) refuses(size int) bool {
	refusing := q.settings.overflow == rejectPublish || !q.settings.quorum && q.settings.overflow == rejectPublishDLX
	return refusing && q.exceeds(q.ready()+1, q.readySize+int64(size))
}

func (q *queue) exceeds(length int, size int64) bool {
	s := &q.settings
	return s.maxLength != none && int64(length) > s.maxLength || s.maxBytes != none && size > s.maxBytes
}

// head returns the entry that is next, or nil.
func (q *queue) head() *entry { return q.backlog.head() }

// pop removes the head and returns it.
func (q *queue) pop() *entry {
	e := q.backlog.pop()
	q.readySize -= int64(len(e.msg.body))
	return e
}

// push adds an entry after all others of its priority.
func (q *queue) push(e *entry) {
	q.backlog.push(q.priority(e), e)
	q.readySize += int64(len(e.msg.body))
}

// putBack returns an entry to its former place.
func (q *queue) putBack(e *entry) {
	q.backlog.putBack(q.priority(e), e)
	q.readySize += int64(len(e.msg.body))
}

// priority returns the priority of an entry in this queue.
func (q *queue) priority(e *entry) int {
	return int(min(int64(e.msg.priority), max(0, q.settings.maxPriority)))
}

// empty removes the ready entries.
func (q *queue) empty() { q.backlog, q.readySize = backlog{}, 0 }

// deadline returns when m must leave the queue, in unix milliseconds; 0: never.
func (q *queue) deadline(m *message) int64 {
	ttl := m.expiration
	if q.settings.ttl != none && (ttl == none || q.settings.ttl < ttl) {
		ttl = q.settings.ttl
	}
	if ttl == none {
		return 0
	}
	return m.published + ttl
}

func now() int64 { return time.Now().UnixMilli() }
