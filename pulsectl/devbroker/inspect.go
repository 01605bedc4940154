package devbroker

import (
	"cmp"
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// QueueInfo is the state of a queue at one moment.
type QueueInfo struct {
	VHost, Name                    string
	Type                           string // "classic" or "quorum"
	Durable, Exclusive, AutoDelete bool
	// Arguments are the arguments of its declaration. Tables in them are of
	// type map[string]any.
	Arguments map[string]any
	// Ready messages can be delivered; Unacked ones were delivered and wait for
	// acknowledgement; Stuck ones are unroutable dead letters of an
	// at-least-once queue.
	Ready, Unacked, Stuck int
	// Bytes of bodies that are ready.
	Bytes int64
	// Consumers subscribed.
	Consumers int
}

// Queues lists the queues of all virtual hosts, by virtual host and name.
func (b *Broker) Queues() []QueueInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	infos := []QueueInfo{}
	for q := range b.allQueues() {
		infos = append(infos, q.info())
	}
	slices.SortFunc(infos, func(x, y QueueInfo) int {
		return cmp.Or(cmp.Compare(x.VHost, y.VHost), cmp.Compare(x.Name, y.Name))
	})
	return infos
}

// Queue returns the queue of this name in the virtual host Config.VHost, and whether there is one.
func (b *Broker) Queue(name string) (QueueInfo, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if v := b.vhosts[b.cfg.VHost]; v != nil && v.queues[name] != nil {
		return v.queues[name].info(), true
	}
	return QueueInfo{}, false
}

func (q *queue) info() QueueInfo {
	info := QueueInfo{
		VHost: q.vhost.name, Name: q.name, Type: "classic", Durable: q.durable, Exclusive: q.exclusive, AutoDelete: q.autoDelete,
		Arguments: plain(q.arguments).(map[string]any),
		Ready:     q.ready(), Unacked: q.unacked, Stuck: len(q.stuck), Bytes: q.readySize, Consumers: len(q.consumers),
	}
	if q.settings.quorum {
		info.Type = "quorum"
	}
	return info
}

// plain copies a field's value, tables as maps.
func plain(v any) any {
	switch v := v.(type) {
	case wire.Table:
		m := make(map[string]any, len(v))
		for key, value := range v {
			m[key] = plain(value)
		}
		return m
	case []any:
		values := make([]any, len(v))
		for i, value := range v {
			values[i] = plain(value)
		}
		return values
	}
	return v
}

// Stats is the state of a broker at one moment.
type Stats struct {
	Connections, Channels, Consumers int
	Exchanges, Queues                int
	// Ready and Unacked messages in all queues.
	Ready, Unacked int
	// MemoryBytes is the memory that counts against Config.MemoryLimit,
	// approximately.
	MemoryBytes int64
	// JournalBytes is the size of the journal on disk.
	JournalBytes int64
	// Blocked reports whether publishers are blocked.
	Blocked bool
}

// Stats returns the current state.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := Stats{
		MemoryBytes: b.memory.Load(), Blocked: b.unblocked != nil,
	}
	for c := range b.conns {
		if !c.gone {
			s.Connections++
			s.Channels += len(c.channels)
		}
	}
	for _, v := range b.vhosts {
		s.Exchanges += len(v.exchanges)
		s.Queues += len(v.queues)
	}
	for q := range b.allQueues() {
		s.Ready += q.ready()
		s.Unacked += q.unacked
		s.Consumers += len(q.consumers)
	}
	if b.store.journal != nil {
		s.JournalBytes = b.store.journal.Size()
	}
	return s
}
