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
	size    uint64 // of the body, once the header was read
	started bool   // the header was read
	props   []byte
	routing wire.Routing
	body    []byte
}

// firstBodyAllocation bounds what is allocated for a body on the word of its header alone.
const firstBodyAllocation = 256 << 10

// header takes the content header in.
func (u *upload) header(payload []byte, maxSize int64) error {
	h, err := wire.ParseContentHeader(payload)
	if err != nil {
		return err
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

func (u *upload) complete() bool { return u.started && uint64(len(u.body)) == u.size }

// publish routes a message that was received whole.
func (b *Broker) publish(ch *channel, u *upload) error {
	m := &message{exchange: u.method.Exchange, key: u.method.RoutingKey, props: u.props, body: u.body}
	keys := []string{m.key}
	var err error
	if m.expiration, err = parseExpiration(u.routing.Expiration); err != nil {
		return err
	}
	if user := u.routing.UserID; user != "" && user != b.cfg.User {
		return preconditionFailed("user_id property set to '%s' but authenticated user was '%s'", user, b.cfg.User)
	}
	if u.routing.Copies {
		if keys, err = m.takeCopies(); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.exchanges[m.exchange]
	switch {
	case x == nil:
		return notFound("no exchange '%s' in vhost '%s'", m.exchange, b.cfg.VHost)
	case x.internal:
		return accessRefused("cannot publish to internal %s", b.exchangeName(x.name))
	}
	targets := b.router.route(x, keys, u.routing.Headers)
	if len(targets) == 0 && u.method.Mandatory {
		ch.conn.out.content(ch.id, &wire.BasicReturn{
			ReplyCode: 312, ReplyText: "NO_ROUTE", Exchange: m.exchange, RoutingKey: m.key,
		}, m.props, m.body)
	}
	outcome := b.enqueue(m, targets, u.routing.Persistent, nil)
	if u.tag != 0 {
		b.confirmPublish(ch, u.tag, outcome)
	}
	b.settleQueues()
	return nil
}

// takeCopies reads the further routing keys in the headers CC and BCC, and takes BCC out: who gets the message must
// not see it.
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

// outcome is what became of a message.
type outcome struct {
	taken   int              // queues that took it
	refused bool             // a queue refused it because it is full
	stored  journal.Position // when the journal has it; 0: nothing to wait for
	about   *concern         // set while some fault is confined
}

// enqueue adds a message to the targets that take it. from is nil unless it is a dead letter.
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
			taking[durable-1] = q // what goes into the journal comes to the front
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
