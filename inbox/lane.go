package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// lane is one worker with the deliveries that wait for it.
type lane struct {
	c      *Consumer
	queue  chan Delivery
	stop   <-chan struct{} // closed when no new work is to begin
	batch  []Delivery      // the one in hand; its memory is used again
	timer  *time.Timer     // of the linger
	runner *runner         // calls the handlers; nil: to be made
}

func newLane(c *Consumer, stop <-chan struct{}) *lane {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &lane{c: c, stop: stop, timer: timer,
		queue: make(chan Delivery, c.cfg.Prefetch),
		batch: make([]Delivery, 0, c.cfg.BatchSize)}
}

// live runs the lane, and once more if code of the user's has ended the
// goroutine, such as a logger by runtime.Goexit. What was in hand goes back.
func (l *lane) live(ctx context.Context) {
	defer l.letGo()
	for {
		err := detached(func() error { l.run(ctx); return nil })
		if panicked, ok := errors.AsType[*PanicError](err); ok {
			panic(fmt.Sprintf("%v\n%s", panicked.Value, panicked.Stack)) // a defect of ours, not to be hidden
		}
		if err == nil {
			return
		}
		l.giveBack(ctx, l.batch)
	}
}

// run handles batches until the queue is closed and empty. ctx is that of work
// in flight.
func (l *lane) run(ctx context.Context) {
	for first := range l.queue {
		l.batch = append(l.batch[:0], first)
		l.gather()
		l.handle(ctx, l.batch)
		clear(l.batch)
	}
}

// gather fills the batch with what is there and with what comes while it
// lingers. Without the linger batches collapse to about one.
func (l *lane) gather() {
	var timeUp <-chan time.Time
	for len(l.batch) < cap(l.batch) {
		select {
		case d, open := <-l.queue:
			if !open {
				return
			}
			l.batch = append(l.batch, d)
			continue
		default:
		}
		if l.stopping() || l.c.cfg.Linger == NoLinger {
			return
		}
		if timeUp == nil {
			l.timer.Reset(l.c.cfg.Linger)
			defer l.timer.Stop()
			timeUp = l.timer.C
		}
		select {
		case d, open := <-l.queue:
			if !open {
				return
			}
			l.batch = append(l.batch, d)
		case <-timeUp:
			return
		case <-l.stop:
		}
	}
}

func (l *lane) stopping() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// handle sees every delivery of the batch settled, in their order: those that
// are no message at once; alone those that may have taken the process down,
// that have failed before, or whose handlers change their session; the rest in
// groups.
func (l *lane) handle(ctx context.Context, batch []Delivery) {
	suspects, ok := l.suspects(ctx, batch)
	if !ok {
		l.giveBack(ctx, batch)
		return
	}
	first := 0 // of the group that is being put together
	flush := func(end int) {
		if first < end {
			l.apply(ctx, &run{deliveries: batch[first:end]})
		}
		first = end + 1
	}
	for i := range batch {
		d := &batch[i]
		d.Message.Attempt = d.Failures + 1
		if err := unfit(*d); err != nil {
			flush(i)
			l.setAside(ctx, *d, ReasonUndecodable, err)
		} else if d.Redelivered && suspects[d.Message.ID] {
			flush(i)
			l.apply(ctx, &run{deliveries: batch[i : i+1], watched: true})
		} else if d.Failures > 0 || l.c.unbatched.has(d.Message) {
			flush(i)
			l.apply(ctx, &run{deliveries: batch[i : i+1]})
		}
	}
	flush(len(batch))
}

// unfit says why a delivery holds no message for the inbox, or nil.
func unfit(d Delivery) error {
	if d.Err != nil {
		return d.Err
	}
	return d.Message.validate()
}

// suspects returns the event ids of redelivered messages that were not applied
// yet: one of them may be what took the process down. It waits for the
// database; ok is false when the consumer is to stop.
func (l *lane) suspects(ctx context.Context, batch []Delivery) (suspects map[string]bool, ok bool) {
	if l.c.in == nil {
		return nil, true
	}
	var ids []string
	for _, d := range batch {
		if d.Redelivered && unfit(d) == nil && !suspects[d.Message.ID] {
			if suspects == nil {
				suspects = make(map[string]bool)
			}
			suspects[d.Message.ID] = true
			ids = append(ids, d.Message.ID)
		}
	}
	if ids == nil {
		return nil, true
	}
	hold := holding{lane: l}
	defer hold.end()
	for !l.stopping() {
		applied, err := l.c.in.lookUp(ctx, ids)
		if err != nil {
			hold.wait(ctx, err)
			continue
		}
		for id := range applied {
			delete(suspects, id)
		}
		return suspects, true
	}
	return nil, false
}

// holding is a lane's wait for what is away, from the first wait to its end.
type holding struct {
	lane  *lane
	waits backoff
	begun bool
}

// wait sleeps one step of the backoff. It returns early when the consumer is
// to stop.
func (h *holding) wait(ctx context.Context, err error) {
	c := h.lane.c
	c.pulse.change(func(health *Health) {
		health.LastError = err
		if !h.begun {
			health.Held++
		}
	})
	if !h.begun {
		h.begun = true
		c.cfg.Logger.WarnContext(ctx, "inbox: holding messages; no attempt is counted", "consumer", c.name(), "error", err)
	}
	h.waits.wait(ctx, h.lane.stop)
}

// end says that work goes on.
func (h *holding) end() {
	if h.begun {
		h.begun, h.waits = false, backoff{}
		h.lane.c.pulse.change(func(health *Health) { health.Held-- })
		h.lane.c.cfg.Logger.Info("inbox: going on with held messages", "consumer", h.lane.c.name())
	}
}
