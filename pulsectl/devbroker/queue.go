package devbroker

import (
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// message is what was published, shared by the queues that hold it. Only the counts of its holders ever change.
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

// memory is what a message counts for against the limit, beside its entries.
func (m *message) memory() int64 {
	return int64(len(m.props)+len(m.body)+len(m.exchange)+len(m.key)) + messageOverhead
}

// stored is what a message takes in a snapshot, about.
func (m *message) stored() int64 { return m.memory() }

// What things cost beside their content, in bytes, roughly.
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
	copied     bool // a second copy that a fault made
}

// queue holds messages for consumers. The broker's lock guards it.
type queue struct {
	vhost                          *virtualHost
	id                             uint64 // names it in the journal
	name, what                     string // what: as error texts name it
	durable, exclusive, autoDelete bool
	arguments                      wire.Table
	settings                       queueSettings
	owner                          *conn // of an exclusive queue
	deleted                        bool

	backlog   backlog // what is ready
	readySize int64   // bytes of bodies in it
	unacked   int
	stuck     []stuckLetter // dead letters that wait for a way out

	consumers    []*consumer // those to be asked first in front
	exclusiveUse bool
	bindings     map[*binding]struct{} // those that lead here

	dirty  bool   // something may be deliverable
	routed uint64 // the last routing that came here
	usedAt int64  // unix milliseconds, for x-expires
	wake   *task  // the next look at its head
	expiry *task  // the next look at whether it is used
	retry  *task  // the next look at stuck
}

// stored tells whether the queue is in the journal. An exclusive queue goes with its connection, durable or not.
func (q *queue) stored() bool { return q.durable && !q.exclusive }

func (q *queue) ready() int { return q.backlog.count }

// overfull tells whether the queue must drop its head.
func (q *queue) overfull() bool {
	drops := q.settings.overflow == dropHead || q.settings.quorum && q.settings.overflow == rejectPublishDLX
	return drops && q.ready() > 0 && q.exceeds(q.ready(), q.readySize)
}

// refuses tells whether a message with a body of size is not taken in because the queue is full.
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

// pop takes the head.
func (q *queue) pop() *entry {
	e := q.backlog.pop()
	q.readySize -= int64(len(e.msg.body))
	return e
}

// push adds an entry behind all others of its priority.
func (q *queue) push(e *entry) {
	q.backlog.push(q.priority(e), e)
	q.readySize += int64(len(e.msg.body))
}

// putBack returns an entry to the place it had.
func (q *queue) putBack(e *entry) {
	q.backlog.putBack(q.priority(e), e)
	q.readySize += int64(len(e.msg.body))
}

// priority tells how urgent an entry is in this queue.
func (q *queue) priority(e *entry) int {
	return int(min(int64(e.msg.priority), max(0, q.settings.maxPriority)))
}

// empty forgets what is ready.
func (q *queue) empty() { q.backlog, q.readySize = backlog{}, 0 }

// deadline tells when m must leave the queue, in unix milliseconds; 0: never.
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
