package devbroker

import (
	"cmp"
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// channel is one channel of a connection. Only its connection's reading
// goroutine uses the fields above the line; the broker's lock guards those
// below.
type channel struct {
	id        uint16
	conn      *conn
	closing   bool    // closed by the broker; waiting for the client's answer
	content   *upload // message being received
	lastQueue string  // the queue declared last, meant by an empty name

	confirming bool   // in confirm mode
	published  uint64 // delivery tag of the last publish in confirm mode

	// ---

	closed    bool
	consumers map[string]*consumer
	confirms  confirms
	lastTag   uint64     // of deliveries
	unacked   []delivery // by tag; acknowledged ones stay until those before them are settled
	settled   int        // number of acknowledged ones among them

	prefetch       uint16 // for future consumers
	globalPrefetch uint16 // for all consumers together; 0: no limit
	outstanding    int    // deliveries to consumers that await an acknowledgement

	replies *replyConsumer // nil: not subscribed to replies
	tx      *transaction   // nil: not in tx mode
}

// delivery is a delivered message that waits for its acknowledgement.
type delivery struct {
	tag      uint64
	queue    *queue
	entry    *entry    // nil once it is settled
	consumer *consumer // nil for basic.get
	held     bool      // settled in a transaction that is not yet committed
}

// free reports whether the delivery can be settled.
func (d *delivery) free() bool { return d.entry != nil && !d.held }

// consumer is a subscription of a channel to a queue.
type consumer struct {
	tag              string
	channel          *channel
	queue            *queue
	noAck, exclusive bool
	priority         int64
	prefetch         uint16 // 0: no limit
	outstanding      int
}

// hasRoom reports whether the consumer can take another delivery.
func (c *consumer) hasRoom() bool {
	ch := c.channel
	if !c.noAck {
		if c.prefetch > 0 && c.outstanding >= int(c.prefetch) {
			return false
		}
		if ch.globalPrefetch > 0 && ch.outstanding >= int(ch.globalPrefetch) {
			return false
		}
	}
	return !ch.conn.silenced && !ch.conn.out.full()
}

// track records a delivery that must be acknowledged and returns it.
func (ch *channel) track(q *queue, e *entry, c *consumer) {
	ch.unacked = append(ch.unacked, delivery{tag: ch.lastTag, queue: q, entry: e, consumer: c})
	q.unacked++
	if c != nil {
		c.outstanding++
		ch.outstanding++
	}
}

// span returns the deliveries with this tag, or with multiple all up to it; tag
// 0 with multiple means all. Some of them may not be free.
func (ch *channel) span(tag uint64, multiple bool) (from, to int, err error) {
	if tag == 0 && multiple {
		return 0, len(ch.unacked), nil
	}
	at, ok := ch.find(tag)
	if !ok || !ch.unacked[at].free() {
		return 0, 0, preconditionFailed("unknown delivery tag %d", tag)
	}
	if multiple {
		return 0, at + 1, nil
	}
	return at, at + 1, nil
}

func (ch *channel) find(tag uint64) (int, bool) {
	return slices.BinarySearchFunc(ch.unacked, tag, func(d delivery, tag uint64) int { return cmp.Compare(d.tag, tag) })
}

// settle removes the deliveries that span returns from the channel and returns
// them in order.
func (ch *channel) settle(tag uint64, multiple bool) ([]delivery, error) {
	from, to, err := ch.span(tag, multiple)
	if err != nil {
		return nil, err
	}
	settled := make([]delivery, 0, to-from)
	for i := from; i < to; i++ {
		if d := &ch.unacked[i]; d.free() {
			settled = append(settled, ch.takeOff(d))
		}
	}
	ch.trim()
	return settled, nil
}

// take removes the deliveries with these tags, which a transaction holds, from
// the channel.
func (ch *channel) take(tags []uint64) []delivery {
	taken := make([]delivery, 0, len(tags))
	for _, tag := range tags {
		if at, ok := ch.find(tag); ok {
			taken = append(taken, ch.takeOff(&ch.unacked[at]))
		}
	}
	ch.trim()
	return taken
}

func (ch *channel) takeOff(d *delivery) delivery {
	settled := *d
	d.entry = nil
	ch.settled++
	d.queue.unacked--
	if c := d.consumer; c != nil {
		c.outstanding--
		ch.outstanding--
	}
	return settled
}

// trim removes settled deliveries at the front, and all of them once they are
// the majority.
func (ch *channel) trim() {
	front := 0
	for front < len(ch.unacked) && ch.unacked[front].entry == nil {
		front++
	}
	ch.unacked = ch.unacked[front:]
	ch.settled -= front
	if ch.settled > 64 && ch.settled > len(ch.unacked)/2 {
		ch.unacked = slices.DeleteFunc(ch.unacked, func(d delivery) bool { return d.entry == nil })
		ch.settled = 0
	}
}

// send queues a method for the client. It works without the broker's lock,
// which only determines the order.
func (ch *channel) send(m wire.Method) { ch.conn.out.method(ch.id, m) }
