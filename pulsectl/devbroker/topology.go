package devbroker

import (
	"crypto/rand"
	"slices"
	"strconv"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// handleTopology acts on a method that defines or deletes something. The answer leaves once the journal has it.
func (b *Broker) handleTopology(ch *channel, m wire.Method) error {
	b.mu.Lock()
	before := b.store.last
	reply, err := b.define(ch, m)
	b.settleQueues()
	after := b.store.last
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if after != before {
		if err := b.store.awaitSync(after); err != nil {
			return internalError("%v", err)
		}
	}
	if reply != nil {
		ch.send(reply)
	}
	return nil
}

// define acts on a method under the lock and returns its answer, nil if none is wanted.
func (b *Broker) define(ch *channel, m wire.Method) (wire.Method, error) {
	var (
		reply  wire.Method
		noWait bool
		err    error
	)
	switch m := m.(type) {
	case *wire.ExchangeDeclare:
		reply, noWait, err = &wire.ExchangeDeclareOk{}, m.NoWait, b.declareExchange(m)
	case *wire.ExchangeDelete:
		reply, noWait, err = &wire.ExchangeDeleteOk{}, m.NoWait, b.exchangeDelete(m)
	case *wire.ExchangeBind:
		reply, noWait = &wire.ExchangeBindOk{}, m.NoWait
		err = b.bindExchange(m)
	case *wire.ExchangeUnbind:
		reply, noWait = &wire.ExchangeUnbindOk{}, m.NoWait
		err = b.unbind(m.Source, b.exchanges[m.Destination], nil, m.RoutingKey, m.Arguments)
	case *wire.QueueDeclare:
		noWait = m.NoWait
		reply, err = b.declareQueue(ch, m)
	case *wire.QueueBind:
		reply, noWait = &wire.QueueBindOk{}, m.NoWait
		err = b.bindQueue(ch, m)
	case *wire.QueueUnbind:
		reply = &wire.QueueUnbindOk{}
		var name string
		if name, err = ch.queueNamed(m.Queue); err == nil {
			err = b.unbind(m.Exchange, nil, b.queues[name], m.RoutingKey, m.Arguments)
		}
	case *wire.QueuePurge:
		noWait = m.NoWait
		reply, err = b.purge(ch, m)
	case *wire.QueueDelete:
		noWait = m.NoWait
		reply, err = b.queueDelete(ch, m)
	}
	if noWait {
		reply = nil
	}
	return reply, err
}

func (b *Broker) declareExchange(m *wire.ExchangeDeclare) error {
	name := b.exchangeName(m.Exchange)
	if m.Exchange == "" {
		return accessRefused("operation not permitted on the default exchange")
	}
	existing := b.exchanges[m.Exchange]
	if m.Passive {
		if existing == nil {
			return notFound("no %s", name)
		}
		return nil
	}
	if !slices.Contains([]string{"direct", "fanout", "topic", "headers"}, m.Type) {
		return commandInvalid("invalid exchange type '%s'", m.Type)
	}
	if existing == nil {
		if reserved(m.Exchange) {
			return accessRefused("exchange name '%s' contains reserved prefix 'amq.*'", m.Exchange)
		}
		if v, ok := m.Arguments["alternate-exchange"]; ok && fieldType(v) != "longstr" {
			return preconditionFailed("invalid type '%s' for arg 'alternate-exchange' in %s", fieldType(v), name)
		}
		x := newExchange(m.Exchange, m.Type)
		x.durable, x.autoDelete, x.internal, x.arguments = m.Durable, m.AutoDelete, m.Internal, m.Arguments
		if err := b.afford(x.memory()); err != nil {
			return err
		}
		b.addExchange(x)
		return nil
	}
	for _, p := range []struct{ property, received, current string }{
		{"type", m.Type, existing.kind},
		{"durable", strconv.FormatBool(m.Durable), strconv.FormatBool(existing.durable)},
		{"auto_delete", strconv.FormatBool(m.AutoDelete), strconv.FormatBool(existing.autoDelete)},
		{"internal", strconv.FormatBool(m.Internal), strconv.FormatBool(existing.internal)},
	} {
		if p.received != p.current {
			return inequivalent(p.property, name, p.received, p.current)
		}
	}
	return differingArgument("alternate-exchange", name, existing.arguments, m.Arguments)
}

func inequivalent(property, what, received, current string) error {
	return preconditionFailed("inequivalent arg '%s' for %s: received '%s' but current is '%s'", property, what, received, current)
}

// afford refuses a definition if the broker holds far too much already.
func (b *Broker) afford(size int64) error {
	if err := b.reserve(int(size)); err != nil {
		return err
	}
	b.memory.Add(-size)
	return nil
}

func (b *Broker) exchangeDelete(m *wire.ExchangeDelete) error {
	x := b.exchanges[m.Exchange]
	switch {
	case m.Exchange == "":
		return accessRefused("operation not permitted on the default exchange")
	case reserved(m.Exchange):
		return accessRefused("deletion of system %s not allowed", b.exchangeName(m.Exchange))
	case x == nil:
		return nil
	case m.IfUnused && len(x.bindings) > 0:
		return preconditionFailed("%s in use", b.exchangeName(m.Exchange))
	}
	b.removeExchange(x)
	return nil
}

func (b *Broker) bindExchange(m *wire.ExchangeBind) error {
	if m.Source == "" || m.Destination == "" {
		return accessRefused("operation not permitted on the default exchange")
	}
	destination := b.exchanges[m.Destination]
	if destination == nil {
		return notFound("no %s", b.exchangeName(m.Destination))
	}
	return b.bind(m.Source, &binding{exchange: destination, key: m.RoutingKey, arguments: m.Arguments})
}

func (b *Broker) bindQueue(ch *channel, m *wire.QueueBind) error {
	if m.Queue == "" && m.RoutingKey == "" {
		m.RoutingKey = ch.lastQueue
	}
	q, err := b.queueFor(ch, m.Queue)
	if err != nil {
		return err
	}
	if m.Exchange == "" {
		return accessRefused("operation not permitted on the default exchange")
	}
	return b.bind(m.Exchange, &binding{queue: q, key: m.RoutingKey, arguments: m.Arguments})
}

func (b *Broker) bind(source string, bound *binding) error {
	x := b.exchanges[source]
	if x == nil {
		return notFound("no %s", b.exchangeName(source))
	}
	if err := x.checkBinding(bound.arguments); err != nil {
		return err
	}
	if bound.source = x; x.find(bound) != nil {
		return nil
	}
	if err := b.afford(bound.memory()); err != nil {
		return err
	}
	b.addBinding(bound)
	return nil
}

// unbind removes a binding. One that does not exist is removed already.
func (b *Broker) unbind(source string, toExchange *exchange, toQueue *queue, key string, args wire.Table) error {
	if source == "" {
		return accessRefused("operation not permitted on the default exchange")
	}
	x := b.exchanges[source]
	if x == nil || toExchange == nil && toQueue == nil {
		return nil
	}
	if bound := x.find(&binding{source: x, exchange: toExchange, queue: toQueue, key: key, arguments: args}); bound != nil {
		b.removeBinding(bound)
	}
	return nil
}

// declareQueue creates a queue, or compares it with one that exists.
func (b *Broker) declareQueue(ch *channel, m *wire.QueueDeclare) (wire.Method, error) {
	q := b.queues[m.Queue]
	switch {
	case q == nil && m.Passive:
		return nil, notFound("no %s", b.queueName(m.Queue))
	case q == nil:
		var err error
		if q, err = b.createQueue(ch, m); err != nil {
			return nil, err
		}
	case q.owner != nil && q.owner != ch.conn:
		return nil, q.locked()
	case !m.Passive:
		if err := q.compare(m); err != nil {
			return nil, err
		}
	}
	q.usedAt = now()
	ch.lastQueue = q.name
	return &wire.QueueDeclareOk{
		Queue: q.name, MessageCount: uint32(q.ready()), ConsumerCount: uint32(len(q.consumers)),
	}, nil
}

func (b *Broker) createQueue(ch *channel, m *wire.QueueDeclare) (*queue, error) {
	what := b.queueName(m.Queue)
	settings, err := queueArguments(what, m.Arguments)
	switch {
	case reserved(m.Queue):
		return nil, accessRefused("queue name '%s' contains reserved prefix 'amq.*'", m.Queue)
	case err != nil:
		return nil, err
	case settings.quorum && m.Queue == "":
		return nil, preconditionFailed("Cannot declare a server-named queue for type rabbit_quorum_queue")
	case settings.quorum && !m.Durable:
		return nil, preconditionFailed("invalid property 'non-durable' for %s", what)
	case settings.quorum && m.AutoDelete:
		return nil, preconditionFailed("invalid property 'auto-delete' for %s", what)
	case settings.quorum && m.Exclusive:
		return nil, preconditionFailed("invalid property 'exclusive-owner' for %s", what)
	}
	q := &queue{
		name: m.Queue, durable: m.Durable, exclusive: m.Exclusive, autoDelete: m.AutoDelete,
		arguments: m.Arguments, settings: settings,
	}
	if m.Exclusive {
		q.owner = ch.conn
	}
	if q.name == "" {
		q.name = "amq.gen-" + rand.Text()
	}
	if err := b.afford(q.memory()); err != nil {
		return nil, err
	}
	b.addQueue(q)
	return q, nil
}

func (q *queue) locked() error {
	return resourceLocked("cannot obtain exclusive access to locked %s. It could be originally declared on another "+
		"connection or the exclusive property value does not match that of the original declaration.", q.what)
}

// compare refuses a declaration that asks for another queue than this one.
func (q *queue) compare(m *wire.QueueDeclare) error {
	switch {
	case m.Exclusive != q.exclusive:
		return q.locked()
	case m.Durable != q.durable:
		return inequivalent("durable", q.what, strconv.FormatBool(m.Durable), strconv.FormatBool(q.durable))
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

// queueFor finds a queue that the channel may use.
func (b *Broker) queueFor(ch *channel, name string) (*queue, error) {
	name, err := ch.queueNamed(name)
	if err != nil {
		return nil, err
	}
	q := b.queues[name]
	if q == nil {
		return nil, notFound("no %s", b.queueName(name))
	}
	if q.owner != nil && q.owner != ch.conn {
		return nil, q.locked()
	}
	return q, nil
}

func (b *Broker) purge(ch *channel, m *wire.QueuePurge) (wire.Method, error) {
	q, err := b.queueFor(ch, m.Queue)
	if err != nil {
		return nil, err
	}
	n := q.ready()
	for range n {
		b.discard(q, q.pop())
	}
	return &wire.QueuePurgeOk{MessageCount: uint32(n)}, nil
}

func (b *Broker) queueDelete(ch *channel, m *wire.QueueDelete) (wire.Method, error) {
	name, err := ch.queueNamed(m.Queue)
	if err != nil {
		return nil, err
	}
	q := b.queues[name]
	switch {
	case q == nil:
		return &wire.QueueDeleteOk{}, nil
	case q.owner != nil && q.owner != ch.conn:
		return nil, q.locked()
	case m.IfUnused && len(q.consumers) > 0:
		return nil, preconditionFailed("%s in use", q.what)
	case m.IfEmpty && q.ready() > 0:
		return nil, preconditionFailed("%s not empty", q.what)
	}
	n := q.ready()
	b.deleteQueue(q)
	return &wire.QueueDeleteOk{MessageCount: uint32(n)}, nil
}
