package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
)

// errForeign: a delivery that this source did not make.
var errForeign = errors.New("delivery comes from another source")

// Settle carries out settlements as inbox.Source says. Acknowledgements and
// plain requeues are sent first. What is retried or dead-lettered is published
// with confirms, pipelined over the whole call, and acknowledged once the broker
// has confirmed: a message is delivered twice if the connection is lost in
// between, and is never lost. One that no queue takes stays unacknowledged, and
// its error says which queue refused it and why; the package comment says where
// else it may go.
//
// A broker does not confirm acknowledgements: the nil of an Ack means that it
// was written to the connection the delivery came on, or is in a tenth of a
// second at the latest, together with others (see Consume).
func (s *Source) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	outcomes := make([]error, len(settlements))
	var acks, returns, copies, failures []reservation
	for i, st := range settlements {
		h, ok := st.Delivery.Handle.(*handle)
		switch {
		case !ok || h.link.source != s:
			outcomes[i] = errForeign
			continue
		case st.Action.Check() != nil:
			outcomes[i] = st.Action.Check()
			continue
		case !h.link.unacked.reserve(h.raw.DeliveryTag):
			outcomes[i] = inbox.ErrStale
			continue
		}
		c := reservation{i, h}
		switch {
		case st.Action == inbox.ActionAck:
			acks = append(acks, c)
		case st.Action != inbox.ActionRequeue:
			failures = append(failures, c)
		case h.returnCounts():
			copies = append(copies, c)
		default:
			returns = append(returns, c)
		}
	}
	settle(acks, (*link).acknowledge, outcomes)
	settle(returns, (*link).requeue, outcomes)
	s.requeueCopies(ctx, copies, outcomes)
	// Not held: were it lost, the message would be on its way twice.
	settle(s.republishFailed(ctx, failures, settlements, outcomes), (*link).acknowledgeNow, outcomes)
	return outcomes
}

// reservation is a delivery that is reserved for a settlement, and the index of
// its outcome.
type reservation struct {
	index  int
	handle *handle
}

// settle settles deliveries on the links they came on. An outcome that is set is
// overwritten only by an error.
func settle(reserved []reservation, send func(l *link, tags []uint64) error, outcomes []error) {
	tags := make(map[*link][]uint64, 1)
	for _, c := range reserved {
		tags[c.handle.link] = append(tags[c.handle.link], c.handle.raw.DeliveryTag)
	}
	failed := make(map[*link]error)
	for l, tags := range tags {
		if err := send(l, tags); err != nil {
			failed[l] = fmt.Errorf("%w: %w", inbox.ErrStale, err)
		}
	}
	for _, c := range reserved {
		if err := failed[c.handle.link]; err != nil {
			outcomes[c.index] = err
		}
	}
}

// requeueTimeout bounds the wait for the confirms of what is requeued, as at a
// stop.
const requeueTimeout = 5 * time.Second

// requeueCopies requeues deliveries whose returns the broker counts: each is
// published to the end of its queue as a new message, with a count of zero, and
// acknowledged. (A quorum queue puts what is returned at its end as well.) One
// that cannot be published is returned.
func (s *Source) requeueCopies(ctx context.Context, reserved []reservation, outcomes []error) {
	if len(reserved) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requeueTimeout)
	defer cancel()
	var copied, others []reservation
	for i, taken := range s.republishToQueue(ctx, reserved) {
		if taken {
			copied = append(copied, reserved[i])
		} else {
			others = append(others, reserved[i])
		}
	}
	settle(copied, (*link).acknowledgeNow, outcomes)
	settle(others, (*link).requeue, outcomes)
}
