package devbroker

import (
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// checkAlarm blocks publishers when too much memory is held or a fault says so, and lets them go on afterwards. There
// is a tenth between the two limits, so that the alarm does not flutter. The caller holds the lock.
func (b *Broker) checkAlarm() {
	held := b.memory.Load()
	limit := b.cfg.MemoryLimit
	if b.unblocked != nil {
		limit -= limit / 10
	}
	block := held > limit || b.faults.on(FaultBlockPublishers, nil) != nil
	switch {
	case block && b.unblocked == nil:
		b.unblocked = make(chan struct{})
		b.blocked.Store(true)
		b.log.Warn("publishers are blocked", "reason", b.blockReason(), "bytes", held, "limit", b.cfg.MemoryLimit)
	case !block && b.unblocked != nil:
		close(b.unblocked)
		b.unblocked = nil
		b.blocked.Store(false)
		for c := range b.conns {
			if c.toldBlocked {
				c.toldBlocked = false
				c.out.method(0, &wire.ConnectionUnblocked{})
			}
		}
		b.log.Info("publishers may go on", "bytes", held)
	}
}

// blockReason is what clients are told, in RabbitMQ's words.
func (b *Broker) blockReason() string {
	if b.faults.on(FaultBlockPublishers, nil) != nil {
		return "blocked on demand"
	}
	return "low on memory"
}

// reserve counts n bytes more against the memory limit. Blocked publishers keep to it by themselves; far beyond it are
// only clients that define things without end, or very many large messages under way at once.
func (b *Broker) reserve(n int) error {
	held := b.memory.Add(int64(n))
	if held > 2*b.cfg.MemoryLimit+b.cfg.MaxMessageSize {
		b.memory.Add(-int64(n))
		return resourceError("the broker holds %d bytes, far beyond its limit of %d", held, b.cfg.MemoryLimit)
	}
	return nil
}
