package devbroker

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// recovery builds a broker's state from the journal.
type recovery struct {
	b       *Broker
	queues  map[uint64]*queue
	entries map[uint64]map[uint64]*entry // by queue and sequence
}

func newRecovery(b *Broker) *recovery {
	return &recovery{b: b, queues: make(map[uint64]*queue), entries: make(map[uint64]map[uint64]*entry)}
}

// replay applies one record. References to unknown objects are ignored: they
// were removed before.
func (r *recovery) replay(record []byte) error {
	in := recordReader{b: record[1:], ok: true}
	kind, vhost := recordKind(record[0]), defaultVHost
	if kind == recordIn {
		vhost = in.text()
		kind = recordKind(in.flags())
	}
	switch kind {
	case recordVHost:
		r.vhost(in.text())
	case recordVHostRemoved:
		if v := r.b.vhosts[in.text()]; v != nil {
			r.b.removeVHost(v)
		}
	case recordExchange:
		r.exchange(&in, r.vhost(vhost))
	case recordExchangeRemoved:
		if x := r.vhost(vhost).exchanges[in.text()]; x != nil {
			r.b.removeExchange(x)
		}
	case recordQueue:
		if err := r.queue(&in, r.vhost(vhost)); err != nil {
			return err
		}
	case recordQueueRemoved:
		id := in.number()
		if q := r.queues[id]; q != nil {
			r.b.deleteQueue(q)
			delete(r.queues, id)
			delete(r.entries, id)
		}
	case recordBinding, recordBindingRemoved:
		r.binding(&in, r.vhost(vhost), kind == recordBinding)
	case recordMessage:
		r.message(&in)
	case recordRemoved:
		queue, seq := in.number(), in.number()
		delete(r.entries[queue], seq)
	case recordDelivered:
		queue, seq, deliveries := in.number(), in.number(), in.number()
		if e := r.entries[queue][seq]; e != nil {
			e.deliveries = uint32(deliveries)
		}
	default:
		return fmt.Errorf("unknown record %d: written by a later version", kind)
	}
	if !in.ok {
		return errors.New("record cut short, although its checksum is right")
	}
	return nil
}

// vhost returns the virtual host of a name, and creates it if needed.
func (r *recovery) vhost(name string) *virtualHost {
	if r.b.vhosts[name] == nil {
		r.b.vhosts[name] = newVirtualHost(name)
	}
	return r.b.vhosts[name]
}

func (r *recovery) exchange(in *recordReader, v *virtualHost) {
	name, kind := in.text(), in.text()
	flags := in.flags()
	x := newExchange(v, name, kind)
	x.durable, x.autoDelete, x.internal = true, flags&1 != 0, flags&2 != 0
	x.arguments = in.table()
	r.b.addExchange(x)
}

func (r *recovery) queue(in *recordReader, v *virtualHost) error {
	q := &queue{vhost: v, id: in.number(), name: in.text(), durable: true}
	q.autoDelete = in.flags()&1 != 0
	q.arguments = in.table()
	var err error
	if q.settings, err = queueArguments(v.queueName(q.name), q.arguments); err != nil {
		return fmt.Errorf("queue %q: %w", q.name, err)
	}
	r.b.addQueue(q)
	r.b.lastQueue = max(r.b.lastQueue, q.id)
	r.queues[q.id] = q
	r.entries[q.id] = make(map[uint64]*entry)
	return nil
}

func (r *recovery) binding(in *recordReader, v *virtualHost, add bool) {
	source := v.exchanges[in.text()]
	toQueue := in.flags()&1 != 0
	bound := &binding{source: source}
	if name := in.text(); toQueue {
		bound.queue = v.queues[name]
	} else {
		bound.exchange = v.exchanges[name]
	}
	bound.key = in.text()
	bound.arguments = in.table()
	if source == nil || bound.queue == nil && bound.exchange == nil {
		return
	}
	existing := source.find(bound)
	switch {
	case add && existing == nil:
		r.b.addBinding(bound)
	case !add && existing != nil:
		r.b.removeBinding(existing)
	}
}

func (r *recovery) message(in *recordReader) {
	m := &message{
		seq: in.number(), published: in.signed(), expiration: in.signed(), exchange: in.text(), key: in.text(),
		props: slices.Clone(in.bytes()), body: slices.Clone(in.bytes()),
	}
	if routing, err := wire.Scan(m.props); err == nil {
		m.priority = routing.Priority
	}
	r.b.lastSeq = max(r.b.lastSeq, m.seq)
	if from := in.number(); from != 0 {
		seq := in.number()
		delete(r.entries[from], seq)
	}
	for range in.number() {
		id, deliveries := in.number(), in.number()
		if q := r.queues[id]; in.ok && q != nil {
			r.entries[id][m.seq] = &entry{
				msg: m, expires: q.deadline(m), deliveries: uint32(deliveries), durable: true,
			}
		}
		if !in.ok {
			return
		}
	}
}

// finish fills the queues with the remaining entries. The caller holds the
// broker's lock.
func (r *recovery) finish() {
	at := now()
	for id, entries := range r.entries {
		q := r.queues[id]
		ordered := make([]*entry, 0, len(entries))
		for _, e := range entries {
			ordered = append(ordered, e)
		}
		slices.SortFunc(ordered, func(x, y *entry) int { return cmp.Compare(x.msg.seq, y.msg.seq) })
		for _, e := range ordered {
			e.since = at
			r.b.retain(e.msg)
			if e.msg.durable++; e.msg.durable == 1 {
				r.b.storedBytes += e.msg.stored()
			}
			q.push(e)
		}
		r.b.touch(q)
	}
	if n := len(r.queues); n > 0 {
		r.b.log.Info("recovered", "queues", n, "bytes", r.b.storedBytes)
	}
	r.b.settleQueues()
}
