package devbroker

import (
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// diskLook is the interval between two checks of the free disk space.
const diskLook = 200 * time.Millisecond

// alarms are the reasons for blocking publishers, except faults. The broker's
// lock guards them.
type alarms struct{ memory, disk bool }

// checkAlarm blocks publishers when too much memory is held, the disk is full
// or a fault requires it, and unblocks them afterwards. The two limits differ
// by a tenth, so that an alarm does not flap. The caller holds the lock.
func (b *Broker) checkAlarm() {
	held := b.memory.Load()
	limit := b.cfg.MemoryLimit
	if b.alarms.memory {
		limit -= limit / 10
	}
	b.alarms.memory = held > limit
	reason := b.blockReason()
	switch {
	case reason != "" && b.unblocked == nil:
		b.unblocked = make(chan struct{})
		b.blocked.Store(true)
		b.log.Warn("publishers are blocked", "reason", reason, "bytes", held, "limit", b.cfg.MemoryLimit)
	case reason == "" && b.unblocked != nil:
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

// blockReason returns the reason for clients, in RabbitMQ's words, or "" if
// publishers are not blocked.
func (b *Broker) blockReason() string {
	var low []string
	if b.alarms.memory {
		low = append(low, "memory")
	}
	if b.alarms.disk {
		low = append(low, "disk")
	}
	switch {
	case len(low) > 0:
		return "low on " + strings.Join(low, " & ")
	case b.faults.on(FaultBlockPublishers, nil) != nil:
		return "blocked on demand"
	}
	return ""
}

// reserve counts n more bytes against the memory limit. Blocked publishers stop
// by themselves; only clients that create endless definitions, or very many
// large messages in flight at once, exceed the limit by far.
func (b *Broker) reserve(n int) error {
	held := b.memory.Add(int64(n))
	if held > 2*b.cfg.MemoryLimit+b.cfg.MaxMessageSize {
		b.memory.Add(-int64(n))
		return resourceError("the broker holds %d bytes, far beyond its limit of %d", held, b.cfg.MemoryLimit)
	}
	return nil
}

// watchDisk is the goroutine that checks the free disk space.
func (b *Broker) watchDisk() {
	ticker := time.NewTicker(diskLook)
	defer ticker.Stop()
	for {
		b.lookAtDisk()
		select {
		case <-ticker.C:
		case <-b.stopped:
			return
		}
	}
}

// lookAtDisk raises or ends the alarm, and has the journal compacted during
// one: otherwise consumed messages free no space.
func (b *Broker) lookAtDisk() {
	free, size, known := journal.Space(b.cfg.DataDir)
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := b.cfg.DiskFreeLimit
	if limit == 0 {
		limit = min(defaultDiskFreeLimit, size/10)
	}
	b.store.journal.KeepFree(max(0, limit/2))
	if b.alarms.disk {
		limit += limit / 10
	}
	b.alarms.disk = b.store.journal.Full() || known && free < limit
	b.checkAlarm()
	if b.alarms.disk && b.tooLong() && b.storedBytes+b.definedBytes < free {
		b.askCompaction()
	}
}
