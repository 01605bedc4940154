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
// deliveries given back go out first. What is parked or set aside is published
// with confirms, pipelined over all of the call, and acknowledged once the
// broker has confirmed: lost in between, it comes twice, never not at all. One
// that no queue takes stays unacknowledged, and its error says which queue
// refused it why; see the package's text for where else it may go.
//
// A broker does not confirm acknowledgements: the nil of an Ack means that it
// was written to the connection the delivery came on, or is in a tenth of a
// second at the latest, together with others (see Consume).
func (s *Source) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	outcomes := make([]error, len(settlements))
	var acks, returns, copies, failures []claim
	for i, st := range settlements {
		h, ok := st.Delivery.Handle.(*handle)
		switch {
		case !ok || h.link.source != s:
			outcomes[i] = errForeign
			continue
		case st.Action.Check() != nil:
			outcomes[i] = st.Action.Check()
			continue
		case !h.link.ledger.claim(h.raw.DeliveryTag):
			outcomes[i] = inbox.ErrStale
			continue
		}
		c := claim{i, h}
		switch {
		case st.Action == inbox.ActionAck:
			acks = append(acks, c)
		case st.Action != inbox.ActionRequeue:
			failures = append(failures, c)
		case h.wearsOut():
			copies = append(copies, c)
		default:
			returns = append(returns, c)
		}
	}
	settle(acks, (*link).acknowledge, outcomes)
	settle(returns, (*link).giveBack, outcomes)
	s.giveBackCopies(ctx, copies, outcomes)
	// Not held: were it lost, the message would be on its way twice.
	settle(s.park(ctx, failures, settlements, outcomes), (*link).acknowledgeNow, outcomes)
	return outcomes
}

// claim is a delivery under settlement, and the place of its outcome.
type claim struct {
	index  int
	handle *handle
}

// settle sends what ends the claims, on the links they came on. It keeps the
// outcome of one that says more than nil.
func settle(claims []claim, send func(l *link, tags []uint64) error, outcomes []error) {
	tags := make(map[*link][]uint64, 1)
	for _, c := range claims {
		tags[c.handle.link] = append(tags[c.handle.link], c.handle.raw.DeliveryTag)
	}
	failed := make(map[*link]error)
	for l, tags := range tags {
		if err := send(l, tags); err != nil {
			failed[l] = fmt.Errorf("%w: %w", inbox.ErrStale, err)
		}
	}
	for _, c := range claims {
		if err := failed[c.handle.link]; err != nil {
			outcomes[c.index] = err
		}
	}
}

// giveBackPatience bounds the wait for the confirms of what is given back, as
// at a stop.
const giveBackPatience = 5 * time.Second

// giveBackCopies gives deliveries back that the broker counts returns of: each
// is published to its queue anew, with a count of zero, and acknowledged. (A
// quorum queue puts what is returned behind the others as well.) One that
// cannot be published is returned all the same.
func (s *Source) giveBackCopies(ctx context.Context, claims []claim, outcomes []error) {
	if len(claims) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, giveBackPatience)
	defer cancel()
	var copied, others []claim
	for i, taken := range s.renew(ctx, claims) {
		if taken {
			copied = append(copied, claims[i])
		} else {
			others = append(others, claims[i])
		}
	}
	settle(copied, (*link).acknowledgeNow, outcomes)
	settle(others, (*link).giveBack, outcomes)
}
