package devbroker

import (
	"slices"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker/internal/wire"
)

// transaction holds what a channel in tx mode has done since the last commit.
// As with RabbitMQ it is checked and routed at once and takes effect at commit,
// which is not atomic for concurrent readers. The broker's lock guards it.
type transaction struct {
	published []publication
	settled   []settlement
	size      int64 // of the messages, counted against the memory limit
}

// settlement is an acknowledgement or rejection of deliveries in a transaction.
type settlement struct {
	tags []uint64
	how  func([]delivery)
}

// selectTx puts the channel into tx mode.
func (b *Broker) selectTx(ch *channel) error {
	if ch.confirming {
		return preconditionFailed("cannot switch from confirm to tx mode")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch.tx == nil {
		ch.tx = &transaction{}
	}
	ch.send(&wire.TxSelectOk{})
	return nil
}

// publish stores a publication until the commit.
func (t *transaction) publish(b *Broker, p publication) error {
	size := p.message.memory()
	if err := b.reserve(int(size)); err != nil {
		return err
	}
	p.targets = slices.Clone(p.targets)
	t.published = append(t.published, p)
	t.size += size
	return nil
}

// settle stores until the commit how deliveries are settled; until then they
// count as unacknowledged, and cannot be settled again.
func (t *transaction) settle(ch *channel, tag uint64, multiple bool, how func([]delivery)) error {
	from, to, err := ch.span(tag, multiple)
	if err != nil {
		return err
	}
	s := settlement{how: how}
	for i := from; i < to; i++ {
		if d := &ch.unacked[i]; d.free() {
			d.held = true
			s.tags = append(s.tags, d.tag)
		}
	}
	t.settled = append(t.settled, s)
	return nil
}

// commit applies the transaction, and answers once that is on disk.
func (b *Broker) commit(ch *channel) error {
	b.mu.Lock()
	if ch.tx == nil {
		b.mu.Unlock()
		return errNoTx()
	}
	t := ch.tx
	ch.tx = &transaction{}
	b.memory.Add(-t.size)
	refused := false
	for _, p := range t.published {
		p.targets = slices.DeleteFunc(p.targets, func(q *queue) bool { return q.deleted })
		refused = b.enqueuePublished(ch, p).refused || refused
	}
	for _, s := range t.settled {
		s.how(ch.take(s.tags))
	}
	b.settleQueues()
	stored := b.store.last
	b.mu.Unlock()
	if refused {
		return preconditionFailed("partial tx completion")
	}
	if err := b.store.awaitSync(stored); err != nil {
		return notStored(err)
	}
	ch.send(&wire.TxCommitOk{})
	return nil
}

// rollback drops the transaction. Its deliveries must be settled again.
func (b *Broker) rollback(ch *channel) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ch.tx == nil {
		return errNoTx()
	}
	b.dropTx(ch)
	ch.tx = &transaction{}
	ch.send(&wire.TxRollbackOk{})
	return nil
}

// dropTx drops the channel's transaction, if there is one.
func (b *Broker) dropTx(ch *channel) {
	if ch.tx == nil {
		return
	}
	b.memory.Add(-ch.tx.size)
	ch.tx = nil
	for i := range ch.unacked {
		ch.unacked[i].held = false
	}
}

func errNoTx() error { return preconditionFailed("channel is not transactional") }
