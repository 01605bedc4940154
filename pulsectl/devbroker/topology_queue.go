package devbroker

import (
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// declareQueue creates a queue, or compares the declaration with an existing
// one.
func (b *Broker) declareQueue(ch *channel, m *wire.QueueDeclare) (wire.Method, error) {
	m.Queue = lineEnds.Replace(m.Queue)
	if strings.HasPrefix(m.Queue, replyTo) {
		return b.declareReplyQueue(ch, m.Queue)
	}
	what := ch.conn.vhost.queueName(m.Queue)
	durable := m.Durable && !m.Exclusive // an exclusive queue is deleted with its connection
	q := ch.conn.vhost.queues[m.Queue]
	if m.Passive {
		if q == nil {
			return nil, notFound("no %s", what)
		}
		if q.owner != nil && q.owner != ch.conn {
			return nil, q.locked()
		}
		return ch.declared(q), nil
	}
	if reserved(m.Queue) {
		return nil, accessRefused("queue name '%s' contains reserved prefix 'amq.*'", m.Queue)
	}
	name := m.Queue
	if name == "" {
		name = "amq.gen-" + rand.Text()
	}
	if err := ch.conn.mayQueue(configure, name); err != nil {
		return nil, err
	}
	switch {
	case q == nil:
		var err error
		if q, err = b.createQueue(ch, name, durable, m); err != nil {
			return nil, err
		}
	case q.owner != nil && q.owner != ch.conn:
		return nil, q.locked()
	default:
		if err := q.compare(m, durable); err != nil {
			return nil, err
		}
	}
	return ch.declared(q), nil
}

// declared returns the answer to a declaration, and makes the queue the one
// that an empty name means.
func (ch *channel) declared(q *queue) wire.Method {
	q.usedAt = now()
	ch.lastQueue = q.name
	return &wire.QueueDeclareOk{
		Queue: q.name, MessageCount: uint32(q.ready()), ConsumerCount: uint32(ch.conn.b.consumerCount(q)),
	}
}

func (b *Broker) createQueue(ch *channel, name string, durable bool, m *wire.QueueDeclare) (*queue, error) {
	v := ch.conn.vhost
	what := v.queueName(name)
	settings, err := queueArguments(what, m.Arguments)
	switch {
	case err != nil:
		return nil, err
	case settings.quorum && m.Queue == "":
		return nil, preconditionFailed("Cannot declare a server-named queue for type rabbit_quorum_queue")
	case settings.quorum && m.AutoDelete:
		return nil, preconditionFailed("invalid property 'auto-delete' for %s", what)
	case settings.quorum && m.Exclusive:
		return nil, preconditionFailed("invalid property 'exclusive-owner' for %s", what)
	case settings.quorum && !durable:
		return nil, preconditionFailed("invalid property 'non-durable' for %s", what)
	}
	if to := settings.deadLetterTo; to != nil {
		if err := ch.conn.mayQueue(read, name); err != nil {
			return nil, err
		}
		if err := ch.conn.mayExchange(write, *to); err != nil {
			return nil, err
		}
	}
	q := &queue{
		vhost: v, name: name, durable: durable, exclusive: m.Exclusive, autoDelete: m.AutoDelete,
		arguments: m.Arguments, settings: settings,
	}
	if m.Exclusive {
		q.owner = ch.conn
	}
	if err := b.checkMemory(q.memory()); err != nil {
		return nil, err
	}
	b.addQueue(q)
	return q, nil
}

func (q *queue) locked() error {
	return resourceLocked("cannot obtain exclusive access to locked %s. It could be originally declared on another "+
		"connection or the exclusive property value does not match that of the original declaration.", q.what)
}

// compare returns an error for a declaration that differs from the queue.
func (q *queue) compare(m *wire.QueueDeclare, durable bool) error {
	switch {
	case m.Exclusive != q.exclusive:
		return q.locked()
	case durable != q.durable:
		return inequivalent("durable", q.what, strconv.FormatBool(durable), strconv.FormatBool(q.durable))
	case m.AutoDelete != q.autoDelete:
		return inequivalent("auto_delete", q.what, strconv.FormatBool(m.AutoDelete), strconv.FormatBool(q.autoDelete))
	}
	if kind, _ := m.Arguments["x-queue-type"].(string); (kind == "quorum") != q.settings.quorum {
		return differingArgument("x-queue-type", q.what, q.arguments, m.Arguments)
	}
	for _, key := range comparedArguments {
		if err := differingArgument(key, q.what, q.arguments, m.Arguments); err != nil {
			return err
		}
	}
	return nil
}

// queueNamed resolves the empty name to the queue that the channel declared last.
func (ch *channel) queueNamed(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if ch.lastQueue == "" {
		return "", notFound("no previously declared queue")
	}
	return ch.lastQueue, nil
}

// queueFor finds a queue by its name that the channel may use.
func (ch *channel) queueFor(name string) (*queue, error) {
	q := ch.conn.vhost.queues[name]
	if q == nil {
		return nil, notFound("no %s", ch.conn.vhost.queueName(name))
	}
	if q.owner != nil && q.owner != ch.conn {
		return nil, q.locked()
	}
	return q, nil
}

// queueToRead finds a queue, by its name or the empty one, that the channel may take messages from.
func (ch *channel) queueToRead(name string) (*queue, error) {
	name, err := ch.queueNamed(name)
	if err != nil {
		return nil, err
	}
	if err := ch.conn.mayQueue(read, name); err != nil {
		return nil, err
	}
	return ch.queueFor(name)
}

func (b *Broker) purge(ch *channel, m *wire.QueuePurge) (wire.Method, error) {
	q, err := ch.queueToRead(m.Queue)
	if err != nil {
		return nil, err
	}
	return &wire.QueuePurgeOk{MessageCount: uint32(b.purgeQueue(q))}, nil
}

// purgeQueue removes the ready messages, and returns their number.
func (b *Broker) purgeQueue(q *queue) int {
	n := q.ready()
	for range n {
		b.discard(q, q.pop())
	}
	return n
}

func (b *Broker) queueDelete(ch *channel, m *wire.QueueDelete) (wire.Method, error) {
	name, err := ch.queueNamed(lineEnds.Replace(m.Queue))
	if err != nil {
		return nil, err
	}
	if err := ch.conn.mayQueue(configure, name); err != nil {
		return nil, err
	}
	q := ch.conn.vhost.queues[name]
	switch {
	case q == nil:
		return &wire.QueueDeleteOk{}, nil
	case q.owner != nil && q.owner != ch.conn:
		return nil, q.locked()
	case q.settings.quorum && m.IfUnused:
		return nil, notImplemented("cannot delete %s. queue.delete operations with if-unused flag set are not supported by quorum queues", q.what)
	case q.settings.quorum && m.IfEmpty:
		return nil, notImplemented("cannot delete %s. queue.delete operations with if-empty flag set are not supported by quorum queues", q.what)
	case m.IfUnused && len(q.consumers) > 0:
		return nil, preconditionFailed("%s in use", q.what)
	case m.IfEmpty && q.ready() > 0:
		return nil, preconditionFailed("%s not empty", q.what)
	}
	n := q.ready()
	b.deleteQueue(q)
	return &wire.QueueDeleteOk{MessageCount: uint32(n)}, nil
}
