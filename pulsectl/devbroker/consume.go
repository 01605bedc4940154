package devbroker

import (
	"crypto/rand"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// qos sets the limit for future consumers or, if global, the one shared by all
// consumers of the channel.
func (b *Broker) qos(ch *channel, m *wire.BasicQos) error {
	if m.PrefetchSize != 0 {
		return notImplemented("prefetch_size!=0 (%d)", m.PrefetchSize)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Global {
		ch.globalPrefetch = m.PrefetchCount
		b.touchConsumersOf(ch)
		b.settleQueues()
	} else {
		ch.prefetch = m.PrefetchCount
	}
	ch.send(&wire.BasicQosOk{})
	return nil
}

// consume subscribes the channel to a queue.
func (b *Broker) consume(ch *channel, m *wire.BasicConsume) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Queue == replyTo {
		return b.consumeReplies(ch, m)
	}
	if ch.consumers[m.ConsumerTag] != nil {
		return notAllowed("attempt to reuse consumer tag '%s'", m.ConsumerTag)
	}
	q, err := ch.queueToRead(m.Queue)
	if err != nil {
		return err
	}
	if m.ConsumerTag == "" {
		m.ConsumerTag = generatedTag()
	}
	priority, err := consumerArguments(q, m.Arguments)
	if err != nil {
		return err
	}
	if q.settings.quorum {
		m.Exclusive = false // like RabbitMQ, which allows other consumers
	}
	switch {
	case q.exclusiveUse, m.Exclusive && (len(q.consumers) > 0 || q.settings.singleActiveConsumer):
		return accessRefused("%s in exclusive use", q.what)
	case q.settings.quorum && ch.globalPrefetch > 0:
		return notImplemented("%s does not support global qos", q.what)
	}
	if err := b.reserve(consumerOverhead); err != nil {
		return err
	}
	c := &consumer{
		tag: m.ConsumerTag, channel: ch, queue: q, noAck: m.NoAck, exclusive: m.Exclusive,
		priority: priority, prefetch: ch.prefetch,
	}
	ch.consumers[c.tag] = c
	q.addConsumer(c)
	if !m.NoWait {
		ch.send(&wire.BasicConsumeOk{ConsumerTag: c.tag})
	}
	b.touch(q)
	b.settleQueues()
	return nil
}

// consumerArguments checks the arguments of a consumer and returns its priority.
func consumerArguments(q *queue, args wire.Table) (priority int64, err error) {
	r := argumentReader{what: q.what, args: args}
	if key := foreignArgument(consumerArgumentsOf, ownType(q.settings.quorum), args); key != "" {
		r.fail(preconditionFailed("invalid arg '%s' for %s of queue type %s", key, q.what, ownType(q.settings.quorum)))
	}
	if _, ok := args["x-priority"]; ok {
		priority = r.anyInteger("x-priority")
	}
	r.boolean("x-cancel-on-ha-failover")
	return priority, r.err
}

func generatedTag() string { return "amq.ctag-" + rand.Text() }

// cancel ends a subscription. One that does not exist has already ended.
func (b *Broker) cancel(ch *channel, m *wire.BasicCancel) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch.replies != nil && ch.replies.tag == m.ConsumerTag {
		b.endReplies(ch)
	} else if c := ch.consumers[m.ConsumerTag]; c != nil {
		b.endConsumer(c)
	}
	if !m.NoWait {
		ch.send(&wire.BasicCancelOk{ConsumerTag: m.ConsumerTag})
	}
	b.settleQueues()
	return nil
}

// get returns one message on request.
func (b *Broker) get(ch *channel, m *wire.BasicGet) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	q, err := ch.queueToRead(m.Queue)
	if err != nil {
		return err
	}
	if q.settings.quorum && q.settings.singleActiveConsumer {
		return resourceLocked("cannot obtain access to locked %s. basic.get operations are not supported by quorum queues "+
			"with single active consumer", q.what)
	}
	if b.faults.stalled(q) {
		return internalError("Cannot get a message from queue '%s': timeout", q.what)
	}
	q.usedAt = now()
	for e := q.head(); e != nil && e.expires != 0 && e.expires <= q.usedAt; e = q.head() {
		b.deadLetter(q, q.pop(), deathExpired)
	}
	if q.ready() == 0 {
		ch.send(&wire.BasicGetEmpty{})
	} else {
		e := q.pop()
		ch.lastTag++
		reply := &wire.BasicGetOk{
			DeliveryTag: ch.lastTag, Redelivered: e.deliveries > 0, Exchange: e.msg.exchange, RoutingKey: e.msg.key,
			MessageCount: uint32(q.ready()),
		}
		props := q.propsFor(e, true)
		b.handOut(ch, q, e, nil, m.NoAck)
		ch.conn.out.content(ch.id, reply, props, e.msg.body)
	}
	b.touch(q)
	b.settleQueues()
	return nil
}

// settleDeliveries settles deliveries up to a tag in the given way.
func (b *Broker) settleDeliveries(ch *channel, tag uint64, multiple bool, how func([]delivery)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch.tx != nil {
		return ch.tx.settle(ch, tag, multiple, how)
	}
	settled, err := ch.settle(tag, multiple)
	if err != nil {
		return err
	}
	how(settled)
	b.settleQueues()
	return nil
}

func (b *Broker) refuseDeliveries(ch *channel, tag uint64, multiple, requeue bool) error {
	if requeue {
		return b.settleDeliveries(ch, tag, multiple, b.requeue)
	}
	return b.settleDeliveries(ch, tag, multiple, b.reject)
}

// recoverDeliveries requeues everything that the channel has not acknowledged.
func (b *Broker) recoverDeliveries(ch *channel, requeue, answer bool) error {
	if !requeue {
		return notImplemented("requeue=false")
	}
	b.mu.Lock()
	unacked, _ := ch.settle(0, true) // except those in a transaction
	b.requeue(unacked)
	b.settleQueues()
	b.mu.Unlock()
	if answer {
		ch.send(&wire.BasicRecoverOk{})
	}
	return nil
}
