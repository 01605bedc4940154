package devbroker

import (
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// confirms is what a channel owes its publisher. The broker's lock guards it.
type confirms struct {
	settled  uint64              // every tag up to here has its verdict
	ahead    map[uint64]struct{} // tags beyond that have theirs, too
	awaiting []awaited           // by position
	ready    []verdict           // to be sent when the connection has nothing more to read
	gap      bool                // a fault swallowed a confirm: no confirm may ever cover it
	withheld []verdict           // by a fault
}

// awaited is a confirm that waits for the journal.
type awaited struct {
	stored journal.Position
	tag    uint64
	about  *concern
}

// verdict is a confirm or its refusal.
type verdict struct {
	tag   uint64
	nack  bool
	about *concern // what faults may be confined to; nil where none was when it was published
}

// confirmPublish answers a publish, or notes to do so once the journal has it.
func (b *Broker) confirmPublish(ch *channel, tag uint64, out outcome) {
	if out.stored == 0 || out.refused {
		if len(ch.confirms.ready) == 0 {
			ch.conn.owing = append(ch.conn.owing, ch)
		}
		ch.confirms.ready = append(ch.confirms.ready, verdict{tag: tag, nack: out.refused, about: out.about})
		return
	}
	if len(ch.confirms.awaiting) == 0 {
		b.awaiting = append(b.awaiting, ch)
	}
	ch.confirms.awaiting = append(ch.confirms.awaiting, awaited{stored: out.stored, tag: tag, about: out.about})
}

// pay sends the confirms that wait for the connection to have nothing more to read: those of a burst of messages go out
// as one. Only the connection's reading goroutine calls it.
func (c *conn) pay() {
	if len(c.owing) > 0 {
		c.b.mu.Lock()
		defer c.b.mu.Unlock()
		c.payLocked()
	}
}

// payLocked is pay for a caller that holds the lock.
func (c *conn) payLocked() {
	for _, ch := range c.owing {
		c.b.answer(ch, ch.confirms.ready)
		ch.confirms.ready = ch.confirms.ready[:0]
	}
	clear(c.owing)
	c.owing = c.owing[:0]
}

// committed is called by the journal: everything up to synced is on disk.
func (b *Broker) committed(synced journal.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	still := b.awaiting[:0]
	for _, ch := range b.awaiting {
		b.verdicts = ch.confirms.ripe(b.verdicts[:0], synced)
		b.answer(ch, b.verdicts)
		if len(ch.confirms.awaiting) > 0 {
			still = append(still, ch)
		}
	}
	clear(b.awaiting[len(still):])
	b.awaiting = still
	b.afterCommit()
}

// ripe takes off the confirms that the journal has caught up with and appends them to dst.
func (c *confirms) ripe(dst []verdict, synced journal.Position) []verdict {
	n := 0
	for n < len(c.awaiting) && c.awaiting[n].stored <= synced {
		dst = append(dst, verdict{tag: c.awaiting[n].tag, about: c.awaiting[n].about})
		n++
	}
	if c.awaiting = c.awaiting[n:]; len(c.awaiting) == 0 {
		c.awaiting = nil
	}
	return dst
}

// answer sends verdicts, unless a fault has other plans with them. The slice is the caller's again afterwards.
func (b *Broker) answer(ch *channel, verdicts []verdict) {
	if len(b.faults) > 0 {
		verdicts = b.spoil(ch, verdicts)
	}
	ch.sendVerdicts(verdicts)
}

// spoil returns the verdicts that no fault keeps from being sent.
func (b *Broker) spoil(ch *channel, verdicts []verdict) (sent []verdict) {
	c := &ch.confirms
	for _, v := range verdicts {
		if b.faults.spend(FaultDropConfirms, v.about) != nil {
			c.gap = true
			c.settle(v.tag)
		} else if b.faults.on(FaultWithholdConfirms, v.about) != nil || b.faults.on(FaultStallQueues, v.about) != nil {
			c.withheld = append(c.withheld, v)
		} else if late := b.faults.spend(FaultDelayConfirms, v.about); late != nil {
			// now is rounded down.
			b.later(now()+late.Delay.Milliseconds()+1, func() { ch.sendVerdicts([]verdict{v}) })
		} else {
			sent = append(sent, v)
		}
	}
	return sent
}

// sendVerdicts sends verdicts, neighbours of a kind in one method.
func (ch *channel) sendVerdicts(verdicts []verdict) {
	if ch.closed {
		return
	}
	c := &ch.confirms
	for i := 0; i < len(verdicts); {
		v := verdicts[i]
		run := 1
		// "multiple" speaks for every earlier tag, so that it may only be said if none is left out.
		if v.tag == c.settled+1 && !c.gap {
			for i+run < len(verdicts) && verdicts[i+run].tag == v.tag+uint64(run) && verdicts[i+run].nack == v.nack {
				run++
			}
		}
		last := v.tag + uint64(run) - 1
		if v.nack {
			ch.send(&wire.BasicNack{DeliveryTag: last, Multiple: run > 1})
		} else {
			ch.send(&wire.BasicAck{DeliveryTag: last, Multiple: run > 1})
		}
		for _, v := range verdicts[i : i+run] {
			c.settle(v.tag)
		}
		i += run
	}
}

// settle notes that a tag has its verdict.
func (c *confirms) settle(tag uint64) {
	if tag != c.settled+1 {
		if c.ahead == nil {
			c.ahead = make(map[uint64]struct{})
		}
		c.ahead[tag] = struct{}{}
		return
	}
	c.settled++
	for len(c.ahead) > 0 {
		if _, ok := c.ahead[c.settled+1]; !ok {
			return
		}
		delete(c.ahead, c.settled+1)
		c.settled++
	}
}
