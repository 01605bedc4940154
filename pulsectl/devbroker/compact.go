package devbroker

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
)

// compactionSlack is how many bytes the journal may take beyond twice the live
// data before it is compacted.
const compactionSlack = 8 << 20

// afterCommit checks the journal after each write: for errors, and for its
// size. The caller holds the lock.
func (b *Broker) afterCommit() {
	if b.store.journal == nil {
		return // still opening
	}
	if err := b.store.journal.Err(); err != nil {
		b.giveUp(err)
		return
	}
	if b.store.journal.Full() && !b.alarms.disk {
		b.alarms.disk = true
		b.checkAlarm()
	}
	if b.tooLong() && !b.alarms.disk { // on a full disk, first check whether there is space for it
		b.askCompaction()
	}
}

func (b *Broker) askCompaction() {
	select {
	case b.compacting <- struct{}{}:
	default: // already requested
	}
}

// tooLong reports whether the journal should be compacted: when half of it is
// dead, or on a full disk as soon as it is worthwhile. The caller holds the
// lock.
func (b *Broker) tooLong() bool {
	useful := b.storedBytes + b.definedBytes
	if b.alarms.disk {
		return b.store.journal.Size() > useful+useful/4+compactionSlack/32
	}
	return b.store.journal.Size() > 2*useful+compactionSlack
}

// giveUp ends the service when nothing can be stored any more: no confirms are
// sent, and clients get the reason.
func (b *Broker) giveUp(err error) {
	if b.failure != nil {
		return
	}
	b.failure = err
	close(b.failed)
	b.log.Error("giving up: the data directory failed", "error", err)
	b.endpoints.close()
	for c := range b.conns {
		c.force(internalError("the broker's data directory failed"))
	}
}

// compact is the goroutine that compacts the journal on request.
func (b *Broker) compact() {
	for {
		select {
		case <-b.compacting:
		case <-b.stopped:
			return
		}
		if err := b.snapshot(); err != nil {
			// The journal continues, only longer; a problem of the disk shows
			// at the next write.
			level := slog.LevelError
			if errors.Is(err, journal.ErrFull) {
				level = slog.LevelDebug // the alarm was logged
			}
			b.log.Log(context.Background(), level, "compacting the journal", "error", err)
		}
	}
}

// held is an entry as a snapshot sees it.
type held struct {
	msg *message
	holder
}

// snapshot replaces the journal by the live data. Messages are immutable, so
// that only references are collected with the lock held, and everything else
// goes on while they are written.
func (b *Broker) snapshot() error {
	b.mu.Lock()
	if !b.tooLong() {
		b.mu.Unlock()
		return nil
	}
	s, err := b.store.journal.BeginSnapshot()
	if err != nil {
		b.mu.Unlock()
		return err
	}
	scratch := &store{} // builds records in its own buffer
	definitions := b.definitions(scratch)
	entries := b.durableEntries()
	b.mu.Unlock()

	for _, record := range definitions {
		if err := s.Append(record); err != nil {
			s.Abort()
			return err
		}
	}
	if err := appendMessages(s, scratch, entries); err != nil {
		s.Abort()
		return err
	}
	return s.Commit()
}

// appendMessages writes each message once, with all queues that hold it.
func appendMessages(s *journal.Snapshot, scratch *store, entries []held) error {
	slices.SortFunc(entries, func(x, y held) int { return cmp.Compare(x.msg.seq, y.msg.seq) })
	var holders []holder
	for i, e := range entries {
		holders = append(holders, e.holder)
		if i+1 < len(entries) && entries[i+1].msg == e.msg {
			continue
		}
		record := scratch.heldRecord(e.msg, holders)
		scratch.buf = record[:0]
		if err := s.Append(record); err != nil {
			return err
		}
		holders = holders[:0]
	}
	return nil
}

// definitions returns the records of all durable exchanges, queues and bindings. The caller holds the lock.
func (b *Broker) definitions(scratch *store) (records [][]byte) {
	add := func(r recordWriter) { records = append(records, slices.Clone(r)) }
	for _, v := range b.vhosts {
		add(scratch.vhostRecord(recordVHost, v.name))
		for _, x := range v.exchanges {
			if x.durable && x.name != "" && !reserved(x.name) {
				add(scratch.exchangeRecord(x))
			}
		}
		for _, q := range v.queues {
			if q.stored() {
				add(scratch.queueRecord(q))
			}
		}
		for _, x := range v.exchanges {
			for _, bound := range x.bindings {
				if bound.durable() {
					add(scratch.bindingRecord(recordBinding, bound))
				}
			}
		}
	}
	return records
}

// durableEntries returns the entries that are ready, delivered, or waiting to
// be dead-lettered. The caller holds the lock.
func (b *Broker) durableEntries() (entries []held) {
	add := func(q *queue, e *entry) {
		if e.durable && !q.deleted {
			entries = append(entries, held{msg: e.msg, holder: holder{queue: q.id, deliveries: e.deliveries}})
		}
	}
	for q := range b.allQueues() {
		q.backlog.all(func(e *entry) { add(q, e) })
		for _, letter := range q.stuck {
			add(q, letter.entry)
		}
	}
	for c := range b.conns {
		for _, ch := range c.channels {
			for _, d := range ch.unacked {
				if d.entry != nil {
					add(d.queue, d.entry)
				}
			}
		}
	}
	return entries
}
