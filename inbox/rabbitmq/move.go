package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// refusalPatience is how long a message waits for the queue it belongs to before
// another takes it: a retry that cannot be scheduled becomes a dead letter, a
// dead letter that is refused waits on the retry ladder.
const refusalPatience = time.Minute

// Bytes that a copy leaves free in the frame of its headers. The broker adds
// to them (x-death, x-delivery-count), keeps to no limit, and a consumer that
// gets more than a frame loses its connection, time and again.
const (
	roomForCount = 128
	roomForDeath = 512 // and eight times the name of the queue
)

// stops are the queues that may take a failed message, the best first. stuck:
// the best have refused it for long.
func (s *Source) stops(st inbox.Settlement, stuck bool) []stop {
	var ladder []stop
	for _, rung := range s.names.Retry {
		ladder = append(ladder, stop{rung.Queue, inbox.ActionRetry})
	}
	last := stop{s.names.DeadLetters, inbox.ActionDeadLetter}
	again := stop{s.names.Queue, inbox.ActionRetry} // at its end, at once
	if st.Action == inbox.ActionRetry {
		at := s.names.rungIndex(st.Delay)
		stops := slices.Clone(ladder[at:])
		for _, shorter := range slices.Backward(ladder[:at]) {
			stops = append(stops, shorter)
		}
		if stuck && !st.Uncounted { // else it is not at fault, and no dead letter
			stops = append(stops, last)
		}
		if stuck {
			stops = append(stops, again)
		}
		return stops
	}
	stops := []stop{last}
	if stuck && st.Reason != inbox.ReasonCrashLoop { // which must not run again
		slices.Reverse(ladder)
		stops = append(append(stops, ladder...), again)
	}
	return stops
}

// park publishes copies of failed deliveries and returns the claims of those
// the broker has confirmed; the others are released, with their outcome set.
func (s *Source) park(ctx context.Context, claims []claim, settlements []inbox.Settlement, outcomes []error) (parked []claim) {
	if len(claims) == 0 {
		return nil
	}
	now := time.Now()
	var unfit []claim
	var parcels []*parcel
	var moving []claim
	for _, c := range claims {
		if c.handle.unfit != nil {
			unfit = append(unfit, c)
			continue
		}
		moving = append(moving, c)
		parcels = append(parcels, s.parcel(c.handle, settlements[c.index], now))
	}
	s.parking.send(ctx, parcels)
	for i, c := range moving {
		p, h := parcels[i], c.handle
		if p.taken {
			parked = append(parked, c)
			outcomes[c.index] = diverted(p, settlements[c.index].Action)
			s.moved(h)
			continue
		}
		if isUnfit(p.err) {
			h.unfit = p.err
			unfit = append(unfit, c)
			continue
		}
		h.link.ledger.release(h.raw.DeliveryTag)
		outcomes[c.index] = s.refused(h, p.err, now)
	}
	s.leaveToBroker(unfit, outcomes)
	return parked
}

// parcel is a failed delivery on its way.
func (s *Source) parcel(h *handle, st inbox.Settlement, now time.Time) *parcel {
	history := s.history(h.raw)
	if st.Uncounted {
		history.Exchange = cmp.Or(history.Exchange, h.raw.Exchange)
	} else {
		errText := ""
		if st.Err != nil {
			errText = st.Err.Error()
		}
		history = history.failed(st.Reason, errText, s.cfg.Consumer, h.raw.Exchange, now)
	}
	stuck := !h.refusedSince.IsZero() && now.Sub(h.refusedSince) >= s.patience
	p := &parcel{stops: s.stops(st, stuck)}
	p.compose = func(to stop, frameMax int) (rabbit.Publishing, error) {
		c, err := s.fit(h.raw, st.Delivery.Message, history, to, frameMax)
		if err != nil && to.action == inbox.ActionRetry && p.at == 0 && !st.Uncounted {
			// No retry queue can take it: it is a dead letter.
			p.stops = append(p.stops[:1:1], stop{s.names.DeadLetters, inbox.ActionDeadLetter})
		}
		return c, err
	}
	return p
}

// fit composes a copy whose headers leave room for what the broker adds. The
// history gives way first. A dead letter may lose headers of the producer's, a
// message that is to be handled may not.
func (s *Source) fit(d amqp.Delivery, msg inbox.Message, history failureHistory, to stop, frameMax int) (rabbit.Publishing, error) {
	reserve := roomForCount
	if to.action == inbox.ActionRetry && to.queue != s.names.Queue {
		reserve = roomForDeath + 8*len(to.queue)
	}
	var room int
	for detail := everything; detail <= countAndReason; detail++ {
		c := failedCopy(d, msg, history, detail)
		c.Key = to.queue
		if to.queue == s.names.Queue {
			c.Headers[headerReturned] = s.names.Queue // so that its count is believed
		}
		var err error
		if room, err = rabbit.HeaderRoom(&c, frameMax); err != nil {
			return c, &unfitError{err}
		}
		if room >= reserve {
			return c, nil
		}
		if detail == countAndReason && to.action == inbox.ActionDeadLetter {
			dropHeaders(&c, reserve-room)
			if room, err = rabbit.HeaderRoom(&c, frameMax); err == nil && room >= reserve {
				return c, nil
			}
		}
	}
	return rabbit.Publishing{}, &unfitError{fmt.Errorf("its headers leave %d bytes free in a frame, and %d are needed", room, reserve)}
}

// isUnfit reports whether err, the end of a parcel's way, is that no queue of
// this broker can have the message, now or later.
func isUnfit(err error) bool {
	if refusal, ok := err.(*refusedError); ok {
		err = refusal.refusals[len(refusal.refusals)-1]
	}
	var unfit *unfitError
	return errors.As(err, &unfit)
}

// diverted is the outcome of a parcel that has come to a stop.
func diverted(p *parcel, asked inbox.Action) error {
	if action := p.stops[p.at].action; action != asked {
		return &inbox.DivertedError{Action: action, Err: &refusedError{p.refusals}}
	}
	return nil
}

// refused is the outcome of a delivery that no queue has taken.
func (s *Source) refused(h *handle, err error, now time.Time) error {
	var refusal *refusedError
	if errors.As(err, &refusal) && h.refusedSince.IsZero() {
		h.refusedSince = now
	}
	s.cannotMove(h, err)
	return fmt.Errorf("message %q stays unacknowledged, it could not be moved: %w", h.raw.MessageId, err)
}

// leaveToBroker settles what cannot be published at all, such as a body above
// the broker's limit, which a limit that was lowered leaves behind. From a
// queue that dead-letters by itself the broker can move it, without its
// history; elsewhere it stays.
func (s *Source) leaveToBroker(claims []claim, outcomes []error) {
	var movable []claim
	for _, c := range claims {
		h := c.handle
		if h.link.kept {
			movable = append(movable, c)
			outcomes[c.index] = &inbox.DivertedError{Action: inbox.ActionDeadLetter,
				Err: fmt.Errorf("moved by the broker, without its history: %w", h.unfit)}
			s.moved(h)
			continue
		}
		h.link.ledger.release(h.raw.DeliveryTag)
		s.cannotMove(h, h.unfit)
		outcomes[c.index] = fmt.Errorf("message %q stays unacknowledged, it cannot be published to another queue: %w", h.raw.MessageId, h.unfit)
	}
	settle(movable, (*link).reject, outcomes)
}

// renew publishes copies of deliveries to the end of their queue, as new ones,
// and returns which the broker has confirmed.
func (s *Source) renew(ctx context.Context, claims []claim) (taken []bool) {
	parcels := make([]*parcel, len(claims))
	for i, c := range claims {
		raw := c.handle.raw
		parcels[i] = &parcel{
			stops: []stop{{s.names.Queue, inbox.ActionRequeue}},
			compose: func(to stop, frameMax int) (rabbit.Publishing, error) {
				copied := s.returnedCopy(raw)
				room, err := rabbit.HeaderRoom(&copied, frameMax)
				if err == nil && room < roomForCount {
					err = errors.New("its headers leave no room")
				}
				return copied, err
			},
		}
	}
	s.parking.send(ctx, parcels)
	taken = make([]bool, len(claims))
	for i, p := range parcels {
		taken[i] = p.taken
	}
	return taken
}
