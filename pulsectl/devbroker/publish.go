package devbroker

import (
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// upload is a message that a channel is receiving: a method frame, a header frame, and body frames.
type upload struct {
	method  *wire.BasicPublish
	tag     uint64 // of its confirm; 0 if the channel is not in confirm mode
	size    uint64 // of the body, known after the header
	started bool   // the header was read
	props   []byte
	routing wire.Routing
	body    []byte
}

// firstBodyAllocation limits the memory allocated for a body because of its
// header alone.
const firstBodyAllocation = 256 << 10

// header processes the content header.
func (u *upload) header(payload []byte, maxSize int64) error {
	h, err := wire.ParseContentHeader(payload)
	if err != nil {
		return err
	}
	if publish := u.method.ID() >> 16; uint32(h.Class) != publish {
		return unexpectedFrame("expected content header for class %d, got one for class %d instead", publish, h.Class)
	}
	u.props = append([]byte(nil), h.Properties...)
	if u.routing, err = wire.Scan(u.props); err != nil {
		return syntaxError("%v", err)
	}
	if h.BodySize > uint64(maxSize) {
		return preconditionFailed("message size %d is larger than configured max size %d", h.BodySize, maxSize)
	}
	u.started, u.size = true, h.BodySize
	u.body = make([]byte, 0, min(u.size, firstBodyAllocation))
	return nil
}

// interrupted is the error for a frame of another kind than the next one of the message.
func (u *upload) interrupted() error {
	if u.started {
		return during(u.method.ID(), unexpectedFrame("expected content body, got non content body frame instead"))
	}
	return during(u.method.ID(), unexpectedFrame("expected content header for class 60, got non content header frame instead"))
}

func (u *upload) complete() bool { return u.started && uint64(len(u.body)) == u.size }

// publication is a message that has been checked and routed.
type publication struct {
	message    *message
	targets    []*queue
	mandatory  bool
	persistent bool
	tag        uint64 // for its confirm; 0: none
}

// receive publishes a message that was received completely.
func (b *Broker) receive(ch *channel, u *upload) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.publish(ch, u)
	return err
}

// publish checks and routes a message, and returns how many queues accepted it.
// The caller holds the lock.
func (b *Broker) publish(ch *channel, u *upload) (taken int, err error) {
	m := &message{exchange: u.method.Exchange, key: u.method.RoutingKey, props: u.props, body: u.body, priority: u.routing.Priority}
	v := ch.conn.vhost
	if err := ch.conn.mayExchange(write, m.exchange); err != nil {
		return 0, err
	}
	x, err := v.exchange(m.exchange)
	switch {
	case err != nil:
		return 0, err
	case x.internal:
		return 0, accessRefused("cannot publish to internal %s", v.exchangeName(x.name))
	}
	keys, err := ch.prepare(m, u)
	if err != nil {
		return 0, err
	}
	if x.name == "" && len(b.replies) > 0 {
		b.deliverReplies(m, keys)
	}
	p := publication{
		message: m, targets: v.router.route(x, keys, u.routing.Headers), mandatory: u.method.Mandatory,
		persistent: u.routing.DeliveryMode == 2, tag: u.tag,
	}
	if ch.tx != nil {
		return len(p.targets), ch.tx.publish(b, p)
	}
	outcome := b.enqueuePublished(ch, p)
	if u.tag != 0 {
		b.confirmPublish(ch, u.tag, outcome)
	}
	b.settleQueues()
	return outcome.taken, nil
}

// prepare checks a message's properties, fills in those that depend on the
// channel, and returns the routing keys.
func (ch *channel) prepare(m *message, u *upload) (keys []string, err error) {
	if u.routing.ReplyTo == replyTo {
		if err := ch.addressReply(m); err != nil {
			return nil, err
		}
	}
	user := ch.conn.user
	if claimed := u.routing.UserID; claimed != "" && claimed != user.name && !user.tagged("impersonator") {
		return nil, preconditionFailed("user_id property set to '%s' but authenticated user was '%s'", claimed, user.name)
	}
	m.expiration = none
	if u.routing.Expires {
		if m.expiration, err = parseExpiration(u.routing.Expiration); err != nil {
			return nil, err
		}
	}
	if mode := u.routing.DeliveryMode; mode > 2 || mode == 0 && u.routing.HasMode {
		return nil, preconditionFailed("invalid message: {delivery_mode_unknown,%d}", mode)
	}
	if u.routing.Copies {
		return m.takeCopies()
	}
	return []string{m.key}, nil
}

// enqueuePublished adds a message to its queues, or returns it if it is mandatory and there is none.
func (b *Broker) enqueuePublished(ch *channel, p publication) outcome {
	if len(p.targets) == 0 && p.mandatory {
		ch.conn.out.content(ch.id, &wire.BasicReturn{
			ReplyCode: 312, ReplyText: "NO_ROUTE", Exchange: p.message.exchange, RoutingKey: p.message.key,
		}, p.message.props, p.message.body)
	}
	return b.enqueue(p.message, p.targets, p.persistent, nil)
}

// takeCopies returns the additional routing keys in the headers CC and BCC, and
// removes BCC: receivers must not see it.
func (m *message) takeCopies() ([]string, error) {
	props, err := wire.ParseProperties(m.props)
	if err != nil {
		return nil, syntaxError("%v", err)
	}
	keys := []string{m.key}
	for _, name := range []string{"CC", "BCC"} {
		switch v := props.Headers[name].(type) {
		case nil:
		case []any:
			keys = append(keys, stringsIn(v)...)
		default:
			return nil, preconditionFailed("invalid message: {unacceptable_type_in_header,\"%s\",%s}", name, fieldType(v))
		}
	}
	delete(props.Headers, "BCC")
	m.props = props.Append(nil)
	return keys, nil
}

// origin is where a dead letter comes from.
type origin struct {
	queue *queue
	entry *entry
}

// outcome is the result of publishing a message.
type outcome struct {
	taken   int              // queues that accepted it
	refused bool             // a queue refused it because it is full
	stored  journal.Position // its position in the journal; 0: nothing to wait for
	about   *concern         // set while a fault is limited
}

// enqueue adds a message to the targets that accept it. from is nil unless it
// is a dead letter.
func (b *Broker) enqueue(m *message, targets []*queue, persistent bool, from *origin) outcome {
	var out outcome
	if b.faults.confined() {
		out.about = &concern{key: m.key, queues: slices.Clone(targets)}
	}
	b.lastSeq++
	m.seq, m.published = b.lastSeq, now()
	taking := b.taking[:0]
	var full []*queue
	for _, q := range targets {
		if q.refuses(len(m.body)) || from == nil && b.faults.refuses(q, m) {
			full = append(full, q)
		} else {
			taking = append(taking, q)
		}
	}
	b.taking = taking
	out.taken, out.refused = len(taking), len(full) > 0
	durable := 0
	for _, q := range taking {
		e := &entry{msg: m, expires: q.deadline(m), since: m.published}
		e.durable = q.stored() && (persistent || q.settings.quorum)
		b.retain(m)
		if e.durable {
			durable++
			taking[durable-1] = q // durable queues come first
		}
		q.push(e)
		b.touch(q)
	}
	if durable > 0 {
		m.durable = durable
		b.storedBytes += m.stored()
		out.stored = b.store.enqueued(m, taking[:durable], from)
	} else if from != nil && out.taken > 0 && from.entry.durable {
		b.store.removed(from.queue, from.entry)
	}
	for _, q := range full {
		if q.settings.overflow == rejectPublishDLX && from == nil {
			b.retain(m)
			b.deadLetter(q, &entry{msg: m}, deathMaxLength)
		}
	}
	return out
}
