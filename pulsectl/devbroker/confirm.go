package devbroker

import (
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/journal"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// confirms holds the confirms that a channel has to send. The broker's lock
// guards it.
type confirms struct {
	settled  uint64              // every tag up to here is answered
	ahead    map[uint64]struct{} // tags after that which are answered
	awaiting []awaited           // by position
	ready    []confirmation      // to be sent when there is nothing more to read on the connection
	gap      bool                // a fault dropped a confirm: no later one may cover it
	withheld []confirmation      // withheld by a fault
}

// awaited is a confirm that waits for the journal.
type awaited struct {
	stored journal.Position
	tag    uint64
	about  *concern
}

// confirmation is an ack or a nack of a publish.
type confirmation struct {
	tag   uint64
	nack  bool
	about *concern // what faults may be limited to; nil if there was no limited fault
}

// confirmPublish confirms a publish, or records that the journal must store it
// first.
func (b *Broker) confirmPublish(ch *channel, tag uint64, out outcome) {
	if out.stored == 0 || out.refused {
		if len(ch.confirms.ready) == 0 {
			ch.conn.unsent = append(ch.conn.unsent, ch)
		}
		ch.confirms.ready = append(ch.confirms.ready, confirmation{tag: tag, nack: out.refused, about: out.about})
		return
	}
	if len(ch.confirms.awaiting) == 0 {
		b.awaiting = append(b.awaiting, ch)
	}
	ch.confirms.awaiting = append(ch.confirms.awaiting, awaited{stored: out.stored, tag: tag, about: out.about})
}

// sendConfirms sends the confirms that wait until there is nothing more to read: a burst
// of messages is confirmed at once. Only the connection's reading goroutine
// calls it.
func (c *conn) sendConfirms() {
	if len(c.unsent) > 0 {
		c.b.mu.Lock()
		defer c.b.mu.Unlock()
		c.sendConfirmsLocked()
	}
}

// sendConfirmsLocked is sendConfirms for a caller that holds the lock.
func (c *conn) sendConfirmsLocked() {
	for _, ch := range c.unsent {
		c.b.answer(ch, ch.confirms.ready)
		ch.confirms.ready = ch.confirms.ready[:0]
	}
	clear(c.unsent)
	c.unsent = c.unsent[:0]
}

// committed is called by the journal: everything up to synced is on disk.
func (b *Broker) committed(synced journal.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	still := b.awaiting[:0]
	for _, ch := range b.awaiting {
		b.confirmations = ch.confirms.takeStored(b.confirmations[:0], synced)
		b.answer(ch, b.confirmations)
		if len(ch.confirms.awaiting) > 0 {
			still = append(still, ch)
		}
	}
	clear(b.awaiting[len(still):])
	b.awaiting = still
	b.afterCommit()
}

// takeStored removes the confirms that the journal has stored and appends them to
// dst.
func (c *confirms) takeStored(dst []confirmation, synced journal.Position) []confirmation {
	n := 0
	for n < len(c.awaiting) && c.awaiting[n].stored <= synced {
		dst = append(dst, confirmation{tag: c.awaiting[n].tag, about: c.awaiting[n].about})
		n++
	}
	if c.awaiting = c.awaiting[n:]; len(c.awaiting) == 0 {
		c.awaiting = nil
	}
	return dst
}

// answer sends confirmations, unless a fault prevents it. The caller may reuse the
// slice afterwards.
func (b *Broker) answer(ch *channel, confirmations []confirmation) {
	if len(b.faults) > 0 {
		confirmations = b.applyFaults(ch, confirmations)
	}
	ch.sendConfirmations(confirmations)
}

// applyFaults applies the faults to confirmations and returns those that can be sent.
func (b *Broker) applyFaults(ch *channel, confirmations []confirmation) (sent []confirmation) {
	c := &ch.confirms
	for _, v := range confirmations {
		if b.faults.spend(FaultDropConfirms, v.about) != nil {
			c.gap = true
			c.settle(v.tag)
		} else if b.faults.on(FaultWithholdConfirms, v.about) != nil || b.faults.on(FaultStallQueues, v.about) != nil {
			c.withheld = append(c.withheld, v)
		} else if late := b.faults.spend(FaultDelayConfirms, v.about); late != nil {
			// now is rounded down.
			b.later(now()+late.Delay.Milliseconds()+1, func() { ch.sendConfirmations([]confirmation{v}) })
		} else {
			sent = append(sent, v)
		}
	}
	return sent
}

// sendConfirmations sends confirmations, consecutive ones of the same kind in one method.
func (ch *channel) sendConfirmations(confirmations []confirmation) {
	if ch.closed {
		return
	}
	c := &ch.confirms
	for i := 0; i < len(confirmations); {
		v := confirmations[i]
		run := 1
		// "multiple" covers every earlier tag, so it can be used only if none is left out.
		if v.tag == c.settled+1 && !c.gap {
			for i+run < len(confirmations) && confirmations[i+run].tag == v.tag+uint64(run) && confirmations[i+run].nack == v.nack {
				run++
			}
		}
		last := v.tag + uint64(run) - 1
		if v.nack {
			ch.send(&wire.BasicNack{DeliveryTag: last, Multiple: run > 1})
		} else {
			ch.send(&wire.BasicAck{DeliveryTag: last, Multiple: run > 1})
		}
		for _, v := range confirmations[i : i+run] {
			c.settle(v.tag)
		}
		i += run
	}
}

// settle records that a tag is answered.
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
