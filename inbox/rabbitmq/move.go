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
// dead letter that is refused waits in a retry queue.
const refusalPatience = time.Minute

// Bytes that a copy leaves free in the frame of its headers. The broker adds
// to them (x-death, x-delivery-count), keeps to no limit, and a consumer that
// gets more than a frame loses its connection, time and again.
const (
	roomForCount = 128
	roomForDeath = 512 // and eight times the name of the queue
)

// targets are the queues that may take a failed message, the best first. stuck:
// the best have refused it for long.
func (s *Source) targets(st inbox.Settlement, stuck bool) []target {
	var retries []target
	for _, r := range s.names.Retry {
		retries = append(retries, target{r.Queue, inbox.ActionRetry})
	}
	last := target{s.names.DeadLetters, inbox.ActionDeadLetter}
	again := target{s.names.Queue, inbox.ActionRetry} // at its end, at once
	if st.Action == inbox.ActionRetry {
		at := s.names.retryIndex(st.Delay)
		targets := slices.Clone(retries[at:])
		for _, shorter := range slices.Backward(retries[:at]) {
			targets = append(targets, shorter)
		}
		if stuck && !st.Uncounted { // else it is not at fault, and no dead letter
			targets = append(targets, last)
		}
		if stuck {
			targets = append(targets, again)
		}
		return targets
	}
	targets := []target{last}
	if stuck && st.Reason != inbox.ReasonCrashLoop { // which must not run again
		slices.Reverse(retries)
		targets = append(append(targets, retries...), again)
	}
	return targets
}

// republishFailed publishes copies of failed deliveries and returns those that
// the broker has confirmed; the others are released, with their outcome set.
func (s *Source) republishFailed(ctx context.Context, failed []reservation, settlements []inbox.Settlement, outcomes []error) (confirmed []reservation) {
	if len(failed) == 0 {
		return nil
	}
	now := time.Now()
	var unfit []reservation
	var transfers []*transfer
	var moving []reservation
	for _, c := range failed {
		if c.handle.unfit != nil {
			unfit = append(unfit, c)
			continue
		}
		moving = append(moving, c)
		transfers = append(transfers, s.newTransfer(c.handle, settlements[c.index], now))
	}
	s.republisher.send(ctx, transfers)
	for i, c := range moving {
		t, h := transfers[i], c.handle
		if t.taken {
			confirmed = append(confirmed, c)
			outcomes[c.index] = diverted(t, settlements[c.index].Action)
			s.moved(h)
			continue
		}
		if isUnfit(t.err) {
			h.unfit = t.err
			unfit = append(unfit, c)
			continue
		}
		h.link.unacked.release(h.raw.DeliveryTag)
		outcomes[c.index] = s.refused(h, t.err, now)
	}
	s.leaveToBroker(unfit, outcomes)
	return confirmed
}

// newTransfer returns the transfer of a failed delivery.
func (s *Source) newTransfer(h *handle, st inbox.Settlement, now time.Time) *transfer {
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
	t := &transfer{targets: s.targets(st, stuck)}
	t.compose = func(to target, frameMax int) (rabbit.Publishing, error) {
		c, err := s.fit(h.raw, st.Delivery.Message, history, to, frameMax)
		if err != nil && to.action == inbox.ActionRetry && t.at == 0 && !st.Uncounted {
			// No retry queue can take it: it is a dead letter.
			t.targets = append(t.targets[:1:1], target{s.names.DeadLetters, inbox.ActionDeadLetter})
		}
		return c, err
	}
	return t
}

// fit composes a copy whose headers leave room for what the broker adds. The
// history gives way first. A dead letter may lose headers of the producer's, a
// message that is to be handled may not.
func (s *Source) fit(d amqp.Delivery, msg inbox.Message, history failureHistory, to target, frameMax int) (rabbit.Publishing, error) {
	reserve := roomForCount
	if to.action == inbox.ActionRetry && to.queue != s.names.Queue {
		reserve = roomForDeath + 8*len(to.queue)
	}
	var room int
	for detail := everything; detail <= countAndReason; detail++ {
		c := failedCopy(d, msg, history, detail)
		c.Key = to.queue
		if to.queue == s.names.Queue {
			c.Headers[headerReturned] = s.names.Queue // so that its count is accepted
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

// isUnfit reports whether err, of a transfer that was not taken, says that no
// queue of this broker can have the message, now or later.
func isUnfit(err error) bool {
	if refusal, ok := err.(*refusedError); ok {
		err = refusal.refusals[len(refusal.refusals)-1]
	}
	var unfit *unfitError
	return errors.As(err, &unfit)
}

// diverted is the outcome of a transfer that was taken.
func diverted(t *transfer, asked inbox.Action) error {
	if action := t.targets[t.at].action; action != asked {
		return &inbox.DivertedError{Action: action, Err: &refusedError{t.refusals}}
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
func (s *Source) leaveToBroker(unfit []reservation, outcomes []error) {
	var movable []reservation
	for _, c := range unfit {
		h := c.handle
		if h.link.deadLetters {
			movable = append(movable, c)
			outcomes[c.index] = &inbox.DivertedError{Action: inbox.ActionDeadLetter,
				Err: fmt.Errorf("moved by the broker, without its history: %w", h.unfit)}
			s.moved(h)
			continue
		}
		h.link.unacked.release(h.raw.DeliveryTag)
		s.cannotMove(h, h.unfit)
		outcomes[c.index] = fmt.Errorf("message %q stays unacknowledged, it cannot be published to another queue: %w", h.raw.MessageId, h.unfit)
	}
	settle(movable, (*link).reject, outcomes)
}

// republishToQueue publishes copies of deliveries to the end of their queue, as
// new messages, and reports by index which the broker has confirmed.
func (s *Source) republishToQueue(ctx context.Context, reserved []reservation) (taken []bool) {
	transfers := make([]*transfer, len(reserved))
	for i, c := range reserved {
		raw := c.handle.raw
		transfers[i] = &transfer{
			targets: []target{{s.names.Queue, inbox.ActionRequeue}},
			compose: func(to target, frameMax int) (rabbit.Publishing, error) {
				copied := s.returnedCopy(raw)
				room, err := rabbit.HeaderRoom(&copied, frameMax)
				if err == nil && room < roomForCount {
					err = errors.New("its headers leave no room")
				}
				return copied, err
			},
		}
	}
	s.republisher.send(ctx, transfers)
	taken = make([]bool, len(reserved))
	for i, t := range transfers {
		taken[i] = t.taken
	}
	return taken
}
