package devbroker

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// handleTopology processes a method that defines or deletes something. The
// answer is sent once the journal has stored it.
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
			return notStored(err)
		}
	}
	if reply != nil {
		ch.send(reply)
	}
	return nil
}

// notStored returns the error for a definition that the journal could not
// store. On a full disk it is stored once there is space.
func notStored(err error) error {
	if errors.Is(err, journal.ErrFull) {
		return resourceError("%v", err)
	}
	return internalError("%v", err)
}

// define processes a method with the lock held and returns its answer, nil if
// none is wanted.
func (b *Broker) define(ch *channel, m wire.Method) (wire.Method, error) {
	var (
		reply  wire.Method
		noWait bool
		err    error
	)
	switch m := m.(type) {
	case *wire.ExchangeDeclare:
		reply, noWait, err = &wire.ExchangeDeclareOk{}, m.NoWait, b.declareExchange(ch, m)
	case *wire.ExchangeDelete:
		reply, noWait, err = &wire.ExchangeDeleteOk{}, m.NoWait, b.exchangeDelete(ch, m)
	case *wire.ExchangeBind:
		reply, noWait = &wire.ExchangeBindOk{}, m.NoWait
		err = b.bindExchange(ch, m)
	case *wire.ExchangeUnbind:
		reply, noWait = &wire.ExchangeUnbindOk{}, m.NoWait
		err = b.unbindExchange(ch, m)
	case *wire.QueueDeclare:
		noWait = m.NoWait
		reply, err = b.declareQueue(ch, m)
	case *wire.QueueBind:
		reply, noWait = &wire.QueueBindOk{}, m.NoWait
		err = b.bindQueue(ch, m)
	case *wire.QueueUnbind:
		reply, err = &wire.QueueUnbindOk{}, b.unbindQueue(ch, m)
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

// lineEnds are removed from names in declarations, bindings and deletions.
var lineEnds = strings.NewReplacer("\r", "", "\n", "")

// errDefaultExchange is returned for changes of the default exchange.
func errDefaultExchange() error {
	return accessRefused("operation not permitted on the default exchange")
}

func (b *Broker) declareExchange(ch *channel, m *wire.ExchangeDeclare) error {
	v := ch.conn.vhost
	m.Exchange = lineEnds.Replace(m.Exchange)
	name := v.exchangeName(m.Exchange)
	if !m.Passive && !slices.Contains([]string{"direct", "fanout", "topic", "headers"}, m.Type) {
		if m.Type == "" {
			return commandInvalid("invalid exchange type ''")
		}
		return commandInvalid("unknown exchange type '%s'", m.Type)
	}
	if m.Exchange == "" {
		return errDefaultExchange()
	}
	existing := v.exchanges[m.Exchange]
	if m.Passive {
		if existing == nil {
			return notFound("no %s", name)
		}
		return nil
	}
	if err := ch.conn.mayExchange(configure, m.Exchange); err != nil {
		return err
	}
	if existing == nil {
		return b.createExchange(ch, m)
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

func (b *Broker) createExchange(ch *channel, m *wire.ExchangeDeclare) error {
	if reserved(m.Exchange) {
		return accessRefused("exchange name '%s' contains reserved prefix 'amq.*'", m.Exchange)
	}
	if alternate, ok := m.Arguments["alternate-exchange"]; ok {
		to, isName := alternate.(string)
		if !isName {
			return preconditionFailed("invalid type '%s' for arg 'alternate-exchange' in %s",
				fieldType(alternate), ch.conn.vhost.exchangeName(m.Exchange))
		}
		if err := ch.conn.mayExchange(read, m.Exchange); err != nil {
			return err
		}
		if err := ch.conn.mayExchange(write, to); err != nil {
			return err
		}
	}
	x := newExchange(ch.conn.vhost, m.Exchange, m.Type)
	x.durable, x.autoDelete, x.internal, x.arguments = m.Durable, m.AutoDelete, m.Internal, m.Arguments
	if err := b.checkMemory(x.memory()); err != nil {
		return err
	}
	b.addExchange(x)
	return nil
}

func inequivalent(property, what, received, current string) error {
	return preconditionFailed("inequivalent arg '%s' for %s: received '%s' but current is '%s'", property, what, received, current)
}

// checkMemory returns an error for a definition if the broker already holds far too
// much.
func (b *Broker) checkMemory(size int64) error {
	if err := b.reserve(int(size)); err != nil {
		return err
	}
	b.memory.Add(-size)
	return nil
}

func (b *Broker) exchangeDelete(ch *channel, m *wire.ExchangeDelete) error {
	m.Exchange = lineEnds.Replace(m.Exchange)
	name := ch.conn.vhost.exchangeName(m.Exchange)
	switch {
	case m.Exchange == "":
		return errDefaultExchange()
	case reserved(m.Exchange):
		return accessRefused("deletion of system %s not allowed", name)
	}
	if err := ch.conn.mayExchange(configure, m.Exchange); err != nil {
		return err
	}
	x := ch.conn.vhost.exchanges[m.Exchange]
	switch {
	case x == nil:
		return nil
	case m.IfUnused && len(x.bindings) > 0:
		return preconditionFailed("%s in use", name)
	}
	b.removeExchange(x)
	return nil
}

// mayBind checks the permissions to bind to, or unbind from, a source;
// toDestination is the result for the destination.
func (c *conn) mayBind(source string, toDestination error, defaultDestination bool) error {
	switch {
	case toDestination != nil:
		return toDestination
	case source == "" || defaultDestination:
		return errDefaultExchange()
	}
	return c.mayExchange(read, source)
}

func (b *Broker) bindExchange(ch *channel, m *wire.ExchangeBind) error {
	m.Source, m.Destination = lineEnds.Replace(m.Source), lineEnds.Replace(m.Destination)
	if err := ch.conn.mayBind(m.Source, ch.conn.mayExchange(write, m.Destination), m.Destination == ""); err != nil {
		return err
	}
	x, err := ch.conn.vhost.exchange(m.Source)
	if err != nil {
		return err
	}
	destination, err := ch.conn.vhost.exchange(m.Destination)
	if err != nil {
		return err
	}
	return b.bind(&binding{source: x, exchange: destination, key: m.RoutingKey, arguments: m.Arguments})
}

func (b *Broker) unbindExchange(ch *channel, m *wire.ExchangeUnbind) error {
	m.Source, m.Destination = lineEnds.Replace(m.Source), lineEnds.Replace(m.Destination)
	if err := ch.conn.mayBind(m.Source, ch.conn.mayExchange(write, m.Destination), m.Destination == ""); err != nil {
		return err
	}
	v := ch.conn.vhost
	b.unbind(&binding{source: v.exchanges[m.Source], exchange: v.exchanges[m.Destination], key: m.RoutingKey, arguments: m.Arguments})
	return nil
}

func (b *Broker) bindQueue(ch *channel, m *wire.QueueBind) (err error) {
	m.Exchange = lineEnds.Replace(m.Exchange)
	if m.Queue, m.RoutingKey, err = ch.bindingNames(m.Queue, m.RoutingKey); err != nil {
		return err
	}
	if err := ch.conn.mayBind(m.Exchange, ch.conn.mayQueue(write, m.Queue), false); err != nil {
		return err
	}
	x, err := ch.conn.vhost.exchange(m.Exchange)
	if err != nil {
		return err
	}
	q, err := ch.queueFor(m.Queue)
	if err != nil {
		return err
	}
	return b.bind(&binding{source: x, queue: q, key: m.RoutingKey, arguments: m.Arguments})
}

func (b *Broker) unbindQueue(ch *channel, m *wire.QueueUnbind) (err error) {
	m.Exchange = lineEnds.Replace(m.Exchange)
	if m.Queue, m.RoutingKey, err = ch.bindingNames(m.Queue, m.RoutingKey); err != nil {
		return err
	}
	if err := ch.conn.mayBind(m.Exchange, ch.conn.mayQueue(write, m.Queue), false); err != nil {
		return err
	}
	q := ch.conn.vhost.queues[m.Queue]
	if q != nil && q.owner != nil && q.owner != ch.conn {
		return q.locked()
	}
	b.unbind(&binding{source: ch.conn.vhost.exchanges[m.Exchange], queue: q, key: m.RoutingKey, arguments: m.Arguments})
	return nil
}

// bindingNames resolves an empty queue name, and an empty key with it, to the
// queue that the channel declared last.
func (ch *channel) bindingNames(queue, key string) (string, string, error) {
	name, err := ch.queueNamed(lineEnds.Replace(queue))
	if queue == "" && key == "" {
		key = name
	}
	return name, key, err
}

func (v *virtualHost) exchange(name string) (*exchange, error) {
	if x := v.exchanges[name]; x != nil {
		return x, nil
	}
	return nil, notFound("no %s", v.exchangeName(name))
}

func (b *Broker) bind(bound *binding) error {
	if err := bound.source.checkBinding(bound.arguments); err != nil {
		return err
	}
	if bound.source.find(bound) != nil {
		return nil
	}
	if err := b.checkMemory(bound.memory()); err != nil {
		return err
	}
	b.addBinding(bound)
	return nil
}

// unbind removes a binding. One that does not exist is already removed.
func (b *Broker) unbind(like *binding) {
	if like.source == nil || like.exchange == nil && like.queue == nil {
		return
	}
	if bound := like.source.find(like); bound != nil {
		b.removeBinding(bound)
	}
}
