package devbroker

import (
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// touch records that messages of q may have become deliverable, or due to leave
// it.
func (b *Broker) touch(q *queue) {
	if !q.dirty && !q.deleted {
		q.dirty = true
		b.dirty = append(b.dirty, q)
	}
}

// settleQueues delivers what can be delivered and removes what is due, until
// nothing changes. Every operation that touched a queue ends with it, before it
// releases the broker's lock.
func (b *Broker) settleQueues() {
	for i := 0; i < len(b.dirty); i++ { // grows meanwhile: dead letters move to other queues
		q := b.dirty[i]
		b.dirty[i] = nil
		q.dirty = false
		if !q.deleted {
			b.pump(q)
		}
	}
	b.dirty = b.dirty[:0]
	b.checkAlarm()
}

// pump delivers from the head of q while a consumer can take a message.
func (b *Broker) pump(q *queue) {
	at := now()
	if b.faults.stalled(q) {
		return // continued when the fault is cleared
	}
	for e := q.head(); e != nil; e = q.head() {
		if e.expires != 0 && e.expires < at {
			b.deadLetter(q, q.pop(), deathExpired)
			continue
		}
		if hold := b.faults.holdDelivery(q, e, at); hold > 0 {
			b.wakeQueue(q, at+hold)
			break
		}
		c := q.nextConsumer()
		if c == nil {
			break
		}
		b.deliver(c, q.pop())
	}
	// A message with a time to live of 0 had its chance just now.
	for e := q.head(); e != nil && e.expires != 0 && e.expires <= at; e = q.head() {
		b.deadLetter(q, q.pop(), deathExpired)
	}
	for q.overfull() {
		b.deadLetter(q, q.pop(), deathMaxLength)
	}
	if e := q.head(); e != nil && e.expires != 0 {
		b.wakeQueue(q, e.expires)
	}
}

// nextConsumer returns the consumer for the next delivery: the highest priority
// first, round-robin within one priority. With a single active consumer it is
// always the first one.
func (q *queue) nextConsumer() *consumer {
	if q.settings.singleActiveConsumer {
		if len(q.consumers) > 0 && q.consumers[0].hasRoom() {
			return q.consumers[0]
		}
		return nil
	}
	for i, c := range q.consumers {
		if !c.hasRoom() {
			continue
		}
		last := i
		for last+1 < len(q.consumers) && q.consumers[last+1].priority == c.priority {
			last++
		}
		copy(q.consumers[i:last], q.consumers[i+1:last+1])
		q.consumers[last] = c
		return c
	}
	return nil
}

// deliver delivers an entry that was popped to a consumer.
func (b *Broker) deliver(c *consumer, e *entry) {
	ch, q := c.channel, c.queue
	ch.lastTag++
	method := &wire.BasicDeliver{
		ConsumerTag: c.tag, DeliveryTag: ch.lastTag, Redelivered: e.deliveries > 0,
		Exchange: e.msg.exchange, RoutingKey: e.msg.key,
	}
	props := q.propsFor(e, false)
	b.handOut(ch, q, e, c, c.noAck)
	ch.conn.out.content(ch.id, method, props, e.msg.body)
}

// handOut records that an entry is about to be sent to a client, by delivery or
// by basic.get (then c is nil).
func (b *Broker) handOut(ch *channel, q *queue, e *entry, c *consumer, noAck bool) {
	duplicate := b.faults.duplicates(q, e)
	if duplicate {
		b.addCopy(q, e)
	}
	if e.deliveries++; noAck {
		b.discard(q, e)
		return
	}
	ch.track(q, e, c)
	if e.durable {
		// The record leaves this process before the message does: if the
		// message crashes the process, it is flagged as redelivered next time.
		ch.conn.out.after(b.store.delivered(q, e))
	}
}

// addCopy puts a second copy of an entry at the head of its queue. It does not survive a restart.
func (b *Broker) addCopy(q *queue, e *entry) {
	b.retain(e.msg)
	q.putBack(&entry{msg: e.msg, since: e.since, deliveries: e.deliveries, copied: true})
}

// propsFor returns the properties of an entry for delivery: a quorum queue adds
// its delivery count, on request even if it is zero.
func (q *queue) propsFor(e *entry, requested bool) []byte {
	if !q.settings.quorum || e.deliveries == 0 && !requested {
		return e.msg.props
	}
	props, _ := wire.ParseProperties(e.msg.props) // was checked at publish
	if props.Headers == nil {
		props.Headers = wire.Table{}
	}
	props.Headers["x-delivery-count"] = int64(e.deliveries)
	return props.Append(nil)
}

// requeue requeues deliveries that were not acknowledged.
func (b *Broker) requeue(deliveries []delivery) {
	at := now()
	for _, d := range deliveries {
		q := d.queue
		limit := q.settings.deliveryLimit
		switch {
		case q.deleted:
			b.release(d.entry.msg, d.entry)
		case limit != none && int64(d.entry.deliveries) > limit:
			b.deadLetter(q, d.entry, deathDeliveryLimit)
		default:
			d.entry.since = at
			q.putBack(d.entry)
		}
	}
	b.touchAfter(deliveries)
}

// acknowledge ends deliveries that were processed, or that nobody needs.
func (b *Broker) acknowledge(deliveries []delivery) {
	for _, d := range deliveries {
		b.discard(d.queue, d.entry)
	}
	b.touchAfter(deliveries)
}

// reject dead-letters or drops deliveries.
func (b *Broker) reject(deliveries []delivery) {
	for _, d := range deliveries {
		if d.queue.deleted {
			b.release(d.entry.msg, d.entry)
		} else {
			b.deadLetter(d.queue, d.entry, deathRejected)
		}
	}
	b.touchAfter(deliveries)
}

// touchAfter touches the queues for which settled deliveries of one channel
// made room: their own and, if the channel's consumers share a limit, those of
// all its consumers.
func (b *Broker) touchAfter(deliveries []delivery) {
	var sharing *channel
	for _, d := range deliveries {
		b.touch(d.queue)
		if d.consumer != nil && d.consumer.channel.globalPrefetch > 0 {
			sharing = d.consumer.channel
		}
	}
	if sharing != nil {
		b.touchConsumersOf(sharing)
	}
}

func (b *Broker) touchConsumersOf(ch *channel) {
	for _, c := range ch.consumers {
		b.touch(c.queue)
	}
}

// discard removes an entry for good.
func (b *Broker) discard(q *queue, e *entry) {
	if e.durable && !q.deleted {
		b.store.removed(q, e)
	}
	b.release(e.msg, e)
}

// retain and release count the entries that hold a message.
func (b *Broker) retain(m *message) {
	if m.refs == 0 {
		b.memory.Add(m.memory())
	}
	m.refs++
	b.memory.Add(entryOverhead)
}

func (b *Broker) release(m *message, e *entry) {
	m.refs--
	b.memory.Add(-entryOverhead)
	if e.durable {
		if m.durable--; m.durable == 0 {
			b.storedBytes -= m.stored()
		}
	}
	if m.refs == 0 {
		b.memory.Add(-m.memory())
	}
}

// addConsumer subscribes c, after the consumers of the same priority.
func (q *queue) addConsumer(c *consumer) {
	at := len(q.consumers)
	if !q.settings.singleActiveConsumer {
		at = slices.IndexFunc(q.consumers, func(o *consumer) bool { return o.priority < c.priority })
		if at < 0 {
			at = len(q.consumers)
		}
	}
	q.consumers = slices.Insert(q.consumers, at, c)
	q.exclusiveUse = c.exclusive
}

// removeConsumer ends a subscription; its deliveries stay with the channel. It
// reports whether the queue must be deleted with it.
func (q *queue) removeConsumer(c *consumer) (deleteQueue bool) {
	q.consumers = slices.DeleteFunc(q.consumers, func(o *consumer) bool { return o == c })
	q.exclusiveUse = q.exclusiveUse && !c.exclusive
	q.usedAt = now()
	return q.autoDelete && len(q.consumers) == 0 && !q.deleted
}
