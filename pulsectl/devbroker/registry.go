package devbroker

import (
	"maps"
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// The functions here change definitions, keep the journal and the accounting of
// memory in step, and check nothing. Both the protocol and the replay of the
// journal use them. The caller holds the lock.

func tableSize(t wire.Table) int64 { return int64(len(wire.AppendTable(nil, t))) }

func (x *exchange) memory() int64 {
	return exchangeOverhead + int64(len(x.name)) + tableSize(x.arguments)
}

func (q *queue) memory() int64 { return queueOverhead + int64(len(q.name)) + tableSize(q.arguments) }

func (b *binding) memory() int64 {
	return bindingOverhead + 2*int64(len(b.key)) + tableSize(b.arguments)
}

// account counts the size of definitions in memory and, approximately, in the
// journal.
func (b *Broker) account(size int64) {
	b.memory.Add(size)
	b.definedBytes += size
}

func (b *Broker) addExchange(x *exchange) {
	x.alternate, _ = x.arguments["alternate-exchange"].(string)
	x.vhost.exchanges[x.name] = x
	b.account(x.memory())
	if x.durable {
		b.store.exchangeAdded(x)
	}
}

// removeExchange deletes an exchange and every binding from or to it.
func (b *Broker) removeExchange(x *exchange) {
	if x.vhost.exchanges[x.name] != x {
		return
	}
	delete(x.vhost.exchanges, x.name)
	b.account(-x.memory())
	for _, bound := range slices.Clone(x.bindings) {
		b.removeBinding(bound)
	}
	if x.incoming > 0 {
		for _, source := range slices.Collect(maps.Values(x.vhost.exchanges)) {
			for _, bound := range slices.Clone(source.bindings) {
				if bound.exchange == x {
					b.removeBinding(bound)
				}
			}
		}
	}
	if x.durable {
		b.store.exchangeRemoved(x)
	}
}

func (b *Broker) addQueue(q *queue) {
	q.what = q.vhost.queueName(q.name)
	q.bindings = make(map[*binding]struct{})
	if q.id == 0 {
		b.lastQueue++
		q.id = b.lastQueue
	}
	q.vhost.queues[q.name] = q
	b.account(q.memory())
	if q.stored() {
		b.store.queueAdded(q)
	}
	q.usedAt = now()
	b.watchExpiry(q)
}

// deleteQueue deletes a queue with its ready messages and every binding to it.
// Unacknowledged messages end when their consumers settle them.
func (b *Broker) deleteQueue(q *queue) {
	if q.deleted {
		return
	}
	q.deleted = true
	b.unschedule(q.wake)
	b.unschedule(q.expiry)
	b.unschedule(q.retry)
	delete(q.vhost.queues, q.name)
	b.account(-q.memory())
	for _, c := range slices.Clone(q.consumers) {
		delete(c.channel.consumers, c.tag)
		b.memory.Add(-consumerOverhead)
		if c.channel.conn.canCancel {
			c.channel.send(&wire.BasicCancel{ConsumerTag: c.tag, NoWait: true})
		}
	}
	q.consumers = nil
	q.backlog.all(func(e *entry) { b.release(e.msg, e) })
	for _, letter := range q.stuck {
		b.release(letter.entry.msg, letter.entry)
	}
	q.empty()
	q.stuck = nil
	for bound := range q.bindings {
		b.removeBinding(bound)
	}
	if q.stored() {
		b.store.queueRemoved(q)
	}
}

func (b *Broker) addBinding(bound *binding) {
	bound.source.bind(bound)
	if bound.queue != nil {
		bound.queue.bindings[bound] = struct{}{}
	}
	b.account(bound.memory())
	if bound.durable() {
		b.store.bindingAdded(bound)
	}
}

// removeBinding removes a binding and, if it was the last one of an auto-delete
// exchange, the exchange.
func (b *Broker) removeBinding(bound *binding) {
	bound.source.unbind(bound)
	if bound.queue != nil {
		delete(bound.queue.bindings, bound)
	}
	b.account(-bound.memory())
	if bound.durable() {
		b.store.bindingRemoved(bound)
	}
	if source := bound.source; source.autoDelete && len(source.bindings) == 0 {
		b.removeExchange(source)
	}
}

// watchExpiry deletes a queue with x-expires once it has been unused for that
// time.
func (b *Broker) watchExpiry(q *queue) {
	lifetime := q.settings.expires
	if lifetime == none {
		return
	}
	q.expiry = b.later(q.usedAt+lifetime, func() {
		switch {
		case len(q.consumers) > 0:
			q.usedAt = now()
			b.watchExpiry(q)
		case now() >= q.usedAt+lifetime:
			b.log.Info("queue expired", "queue", q.name)
			b.deleteQueue(q)
		default:
			b.watchExpiry(q)
		}
	})
}

// endConsumer ends a subscription and, if it was the last one of an auto-delete
// queue, deletes the queue.
func (b *Broker) endConsumer(c *consumer) {
	delete(c.channel.consumers, c.tag)
	b.memory.Add(-consumerOverhead)
	if c.queue.removeConsumer(c) {
		b.deleteQueue(c.queue)
	} else {
		b.touch(c.queue)
	}
}

// forgetTransient removes what a restart removes. No client is connected.
func (b *Broker) forgetTransient() {
	for _, q := range slices.Collect(b.allQueues()) {
		if !q.stored() {
			b.deleteQueue(q)
			continue
		}
		ready := q.backlog
		q.empty()
		ready.all(func(e *entry) {
			if e.durable {
				q.push(e)
			} else {
				b.release(e.msg, e)
			}
		})
		b.touch(q)
	}
	for _, v := range b.vhosts {
		for _, x := range slices.Collect(maps.Values(v.exchanges)) {
			if !x.durable {
				b.removeExchange(x)
			}
		}
	}
}
