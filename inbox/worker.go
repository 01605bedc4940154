package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// worker takes the deliveries that Run has dealt to it through the database.
// One delivery's way, from here to its acknowledgement:
//
//	run      takes it from the queue, and gather fills a batch with others
//	plan     divides the batch into attempts, each of which shares a transaction
//	apply    repeats an attempt (see attempt.go) until there is an outcome
//	         (see outcome.go), or waits while the database is away
//	settle   hands the outcome's settlements to the settler, which acknowledges
type worker struct {
	c      *Consumer
	queue  chan Delivery
	stop   <-chan struct{} // closed when no new work is to begin
	batch  []Delivery      // the current one; its memory is used again
	timer  *time.Timer     // of the linger
	runner *runner         // calls the handlers; nil: to be made
}

func newWorker(c *Consumer, stop <-chan struct{}) *worker {
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	return &worker{c: c, stop: stop, timer: timer,
		queue: make(chan Delivery, c.cfg.Prefetch),
		batch: make([]Delivery, 0, c.cfg.BatchSize)}
}

// live runs the worker, and once more if code of the user's has ended the
// goroutine, such as a logger by runtime.Goexit. The current batch is requeued.
func (w *worker) live(ctx context.Context) {
	defer w.closeRunner()
	for {
		err := detached(func() error { w.run(ctx); return nil })
		if panicked, ok := errors.AsType[*PanicError](err); ok {
			panic(fmt.Sprintf("%v\n%s", panicked.Value, panicked.Stack)) // a defect of ours, not to be hidden
		}
		if err == nil {
			return
		}
		w.settle(ctx, requeued(w.batch))
	}
}

// run handles batches until the queue is closed and empty. ctx is that of work
// in flight.
func (w *worker) run(ctx context.Context) {
	for first := range w.queue {
		w.batch = w.gather(append(w.batch[:0], first))
		w.handle(ctx, w.batch)
		clear(w.batch)
	}
}

// gather fills the batch with what is there and with what comes while it
// lingers. Without the linger batches collapse to about one.
func (w *worker) gather(batch []Delivery) []Delivery {
	var timeUp <-chan time.Time
	for len(batch) < cap(batch) {
		select {
		case d, open := <-w.queue:
			if !open {
				return batch
			}
			batch = append(batch, d)
			continue
		default:
		}
		if w.stopping() || w.c.cfg.Linger == NoLinger {
			return batch
		}
		if timeUp == nil {
			w.timer.Reset(w.c.cfg.Linger)
			defer w.timer.Stop()
			timeUp = w.timer.C
		}
		select {
		case d, open := <-w.queue:
			if !open {
				return batch
			}
			batch = append(batch, d)
		case <-timeUp:
			return batch
		case <-w.stop:
		}
	}
	return batch
}

func (w *worker) stopping() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// handle sees every delivery of the batch settled, in their order.
func (w *worker) handle(ctx context.Context, batch []Delivery) {
	for i := range batch {
		batch[i] = w.c.cfg.open(batch[i])
	}
	suspects, ok := w.suspects(ctx, batch)
	if !ok {
		w.settle(ctx, requeued(batch))
		return
	}
	for _, a := range w.plan(batch, suspects) {
		if a.invalid != nil {
			processing, _ := w.c.tracing.startProcess(ctx, a.deliveries)
			w.settle(processing, deadLettered(a.deliveries[0], a.reason, a.invalid))
			continue
		}
		w.apply(ctx, a)
	}
}

// plan divides a batch into attempts, in its order: alone go deliveries that
// hold no message, that break their contract, that are suspected of a crash, that
// have failed before, or whose handlers change their session; the rest go in groups.
func (w *worker) plan(batch []Delivery, suspects map[string]bool) []attempt {
	attempts := make([]attempt, 0, 1)
	first := 0 // of the group that is being put together
	single := func(i int, a attempt) {
		if first < i {
			attempts = append(attempts, attempt{deliveries: batch[first:i]})
		}
		first = i + 1
		a.deliveries = batch[i : i+1]
		attempts = append(attempts, a)
	}
	for i, d := range batch {
		if err := unfit(d); err != nil {
			single(i, attempt{invalid: err, reason: unfitReason(err)})
		} else if err := w.c.cfg.breach(d.Message); err != nil {
			single(i, attempt{invalid: err, reason: breachReason(err)})
		} else if d.Redelivered && suspects[d.Message.ID] {
			single(i, attempt{watched: true})
		} else if d.Failures > 0 || w.c.unbatched.has(d.Message) {
			single(i, attempt{})
		}
	}
	if first < len(batch) {
		attempts = append(attempts, attempt{deliveries: batch[first:]})
	}
	return attempts
}

// unfit says why a delivery holds no message for the inbox, or nil.
func unfit(d Delivery) error {
	if d.Err != nil {
		return d.Err
	}
	return d.Message.validate()
}

// suspects returns the event ids of redelivered messages that were not applied
// yet: one of them may be what crashed the process. It waits for the database;
// ok is false when the consumer is to stop.
func (w *worker) suspects(ctx context.Context, batch []Delivery) (suspects map[string]bool, ok bool) {
	if w.c.in == nil {
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
	h := hold{w: w}
	defer h.end()
	for !w.stopping() {
		applied, err := w.c.in.lookUp(ctx, ids)
		if err != nil {
			h.wait(ctx, err)
			continue
		}
		for id := range applied {
			delete(suspects, id)
		}
		return suspects, true
	}
	return nil, false
}

// apply makes the attempt until it has an outcome, and settles that. It waits
// while the database is away.
func (w *worker) apply(ctx context.Context, a attempt) {
	h := hold{w: w}
	defer h.end()
	var span *process
	if !w.stopping() {
		ctx, span = w.c.tracing.startProcess(ctx, a.deliveries)
		defer span.close()
	}
	for reruns := 0; ; {
		if w.stopping() {
			w.requeue(ctx, a)
			return
		}
		began := time.Now()
		next, done, err := w.try(ctx, a)
		w.c.metrics.processed(ctx, began, err)
		a = next
		if err == nil {
			h.end()
			w.c.markFree(a.deliveries)
			w.noteSessionChange(ctx, a.deliveries[0], done)
			w.settle(ctx, committed(a, done))
			return
		}
		if errors.Is(err, errUnfinished) {
			continue
		}
		switch verdict := w.c.judge(ctx, a, reruns, err); verdict {
		case blameless:
			reruns++
			span.event("rerun", err)
			w.c.logRerun(ctx, a, reruns, err)
			pause(ctx, reruns)
		case away:
			reruns = 0
			h.wait(ctx, err)
		case interrupted:
			w.requeue(ctx, a)
			return
		default:
			h.end()
			w.fail(ctx, a, verdict, err)
			return
		}
	}
}

// requeue ends an attempt at shutdown.
func (w *worker) requeue(ctx context.Context, a attempt) {
	w.c.clearStart(ctx, a)
	w.settle(ctx, requeued(a.deliveries))
}

// settle ends the span of the attempt, hands its outcome to the settler, and counts
// it.
func (w *worker) settle(ctx context.Context, o outcome) {
	processOf(ctx).end(o)
	w.c.metrics.committed(ctx, o)
	w.c.settler.settle(ctx, o.settlements)
	if o.applied+o.duplicates > 0 {
		w.c.monitor.change(func(h *Health) {
			h.Applied += o.applied
			h.Duplicates += o.duplicates
		})
	}
}

// hold is a worker's wait for what is away, from the first wait to its end.
type hold struct {
	w     *worker
	out   outage
	begun bool
}

// wait sleeps one step of the backoff. It returns early when the consumer is
// to stop.
func (h *hold) wait(ctx context.Context, err error) {
	c := h.w.c
	if tx, ok := errors.AsType[*txError](err); ok && (tx.lost || tx.phase != handling && tx.phase != unclaimed) {
		err = fmt.Errorf("%w: %w", health.Part(partDatabase), err)
	}
	c.monitor.change(func(health *Health) {
		health.LastError = err
		if !h.begun {
			health.Held++
		}
	})
	if !h.begun {
		h.begun = true
		processOf(ctx).event("held", err)
		c.cfg.Logger.WarnContext(ctx, "inbox: holding messages; no attempt is counted", "consumer", c.name(), "error", err)
	}
	h.out.wait(ctx, h.w.stop)
}

// end says that work goes on.
func (h *hold) end() {
	if h.begun {
		h.begun, h.out = false, outage{}
		h.w.c.monitor.change(func(health *Health) { health.Held-- })
		h.w.c.cfg.Logger.Info("inbox: messages are handled again", "consumer", h.w.c.name())
	}
}
