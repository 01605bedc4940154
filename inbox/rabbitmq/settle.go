package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// errForeign: a delivery that this source did not make.
var errForeign = errors.New("delivery comes from another source")

// Settle carries out settlements as inbox.Source says. Acknowledgements and
// deliveries given back go out first. What is parked or set aside is published
// with confirms, pipelined over all of the call, and acknowledged once the
// broker has confirmed: lost in between, it comes twice, never not at all. One
// that cannot be published stays unacknowledged, and its error says why.
//
// A broker does not confirm acknowledgements: the nil of an Ack means that it
// was written to the connection the delivery came on, or is in a tenth of a
// second at the latest, together with others (see Consume).
func (s *Source) Settle(ctx context.Context, settlements []inbox.Settlement) []error {
	outcomes := make([]error, len(settlements))
	var acks, returns, failures []claim
	for i, st := range settlements {
		h, ok := st.Delivery.Handle.(*handle)
		switch {
		case !ok || h.link.source != s:
			outcomes[i] = errForeign
			continue
		case st.Action < inbox.Ack || st.Action > inbox.GiveBack:
			outcomes[i] = fmt.Errorf("action %d is none that inbox defines", st.Action)
			continue
		case !h.link.ledger.claim(h.raw.DeliveryTag):
			outcomes[i] = inbox.ErrStale
			continue
		}
		c := claim{i, h}
		switch st.Action {
		case inbox.Ack:
			acks = append(acks, c)
		case inbox.GiveBack:
			returns = append(returns, c)
		default:
			failures = append(failures, c)
		}
	}
	settle(acks, (*link).acknowledge, outcomes)
	settle(returns, (*link).giveBack, outcomes)
	// Not held: were it lost, the message would be on its way twice.
	settle(s.park(ctx, failures, settlements, outcomes), (*link).acknowledgeNow, outcomes)
	return outcomes
}

// claim is a delivery under settlement, and the place of its outcome.
type claim struct {
	index  int
	handle *handle
}

// settle sends what ends the claims, on the links they came on.
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
		outcomes[c.index] = failed[c.handle.link]
	}
}

// park publishes copies of failed deliveries and returns the claims of those
// the broker has confirmed; the others are released, with their outcome set.
func (s *Source) park(ctx context.Context, claims []claim, settlements []inbox.Settlement, outcomes []error) (parked []claim) {
	if len(claims) == 0 {
		return nil
	}
	now := time.Now()
	copies := make([]rabbit.Publishing, len(claims))
	for i, c := range claims {
		st := settlements[c.index]
		queue := s.names.DeadLetters
		if st.Action == inbox.Park {
			queue = s.names.rung(st.Delay).Queue
		}
		copies[i] = newCopy(queue, c.handle.raw, st, s.cfg.Consumer, now)
	}
	for i, err := range s.parking.send(ctx, copies) {
		c := claims[i]
		if err != nil {
			c.handle.link.ledger.release(c.handle.raw.DeliveryTag)
			outcomes[c.index] = fmt.Errorf("message %q stays unacknowledged, it could not be moved to queue %q: %w",
				c.handle.raw.MessageId, copies[i].Key, err)
			continue
		}
		parked = append(parked, c)
	}
	return parked
}
