package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// republishWindow is how many copies may be without a confirm.
const republishWindow = 256

// republisher publishes copies of messages to retry and dead-letter queues, and
// to the end of the queue they came from. It has a connection of its own, made
// when first needed: a broker that is short of memory stops reading from
// connections that publish, and acknowledgements must still get through.
type republisher struct {
	life    context.Context
	cfg     rabbit.Config
	timeout time.Duration
	ensure  func(context.Context, *rabbit.Conn) error // sets the queues up again
	turn    chan struct{}                             // holds a token while somebody uses what follows

	conn      *rabbit.Conn        // nil: to be made
	confirmer *rabbit.Confirmer   // nil: to be made
	nacked    bool                // on the present channel
	silent    map[string]struct{} // queues that did not confirm in time, when last asked
}

func newRepublisher(life context.Context, cfg rabbit.Config, timeout time.Duration, ensure func(context.Context, *rabbit.Conn) error) *republisher {
	return &republisher{life: life, cfg: cfg, timeout: timeout, ensure: ensure, turn: make(chan struct{}, 1), silent: make(map[string]struct{})}
}

// target is a queue that may take a message, and the action that this is.
type target struct {
	queue  string
	action inbox.Action
}

// transfer is a message on its way to the first of several queues that takes it.
type transfer struct {
	targets []target
	// compose makes the copy for a target, fit for frames of a size. It returns an
	// unfitError when there can be none.
	compose func(to target, frameMax int) (rabbit.Publishing, error)

	at       int     // index of the target it is for, and once taken of the one that has it
	taken    bool    // confirmed
	refusals []error // by the targets before that one
	err      error   // not taken: why
}

// unfitError: a message that cannot be published as it would have to be.
type unfitError struct{ cause error }

func (e *unfitError) Error() string { return e.cause.Error() }
func (e *unfitError) Unwrap() error { return e.cause }

// next moves on to the next target, and reports whether there is one.
func (t *transfer) next(refusal error) bool {
	t.refusals = append(t.refusals, fmt.Errorf("queue %q: %w", t.targets[t.at].queue, refusal))
	if t.at+1 == len(t.targets) {
		t.err = &refusedError{t.refusals}
		return false
	}
	t.at++
	return true
}

// refusedError: no queue takes the message. Nobody else is affected.
type refusedError struct{ refusals []error }

func (e *refusedError) Error() string {
	texts := make([]string, len(e.refusals))
	for i, err := range e.refusals {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}
func (e *refusedError) Unwrap() []error { return e.refusals }

// send publishes transfers, each to the first of its targets that confirms, in
// their order where targets are equal. A queue that has gone missing is set up again,
// once. A queue that does not confirm in time is asked with one message at a
// time, after the others.
func (r *republisher) send(ctx context.Context, transfers []*transfer) {
	limit := 3 * r.timeout // for several targets
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not confirmed within %v", limit))
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer context.AfterFunc(r.life, func() { end(ErrClosed) })()

	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		for _, each := range transfers {
			each.err = context.Cause(ctx)
		}
		return
	}
	if r.nacked && r.confirmer != nil {
		// RabbitMQ remembers with the channel that a quorum queue refuses, and
		// does not always learn that there is room again.
		r.confirmer.Close()
		r.confirmer, r.nacked = nil, false
	}
	restored := false
	for len(transfers) > 0 {
		prompt, silent := r.sort(transfers)
		missing := append(r.round(ctx, prompt), r.probe(ctx, silent)...)
		if len(missing) > 0 && !restored {
			restored = true
			if err := r.restore(ctx); err == nil {
				missing = nil // all of them once more
			} else {
				missing[0].refusals = append(missing[0].refusals, err)
			}
		}
		for _, each := range missing {
			each.next(errMissing)
		}
		transfers = unfinished(prompt, silent)
	}
}

var (
	errMissing = errors.New("there is no such queue (NO_ROUTE)")
	errNacked  = errors.New("nacked: the queue refuses it, as one at its maximum length does")
	errSilent  = errors.New("has not confirmed in time, as a queue without a majority of its nodes")
)

// unfinished returns the transfers that have a target left.
func unfinished(lists ...[]*transfer) (left []*transfer) {
	for _, list := range lists {
		for _, each := range list {
			if !each.taken && each.err == nil {
				left = append(left, each)
			}
		}
	}
	return left
}

// sort separates the transfers for queues that answer from those for queues that
// did not when last asked.
func (r *republisher) sort(transfers []*transfer) (prompt, silent []*transfer) {
	for _, each := range transfers {
		if _, is := r.silent[each.targets[each.at].queue]; is {
			silent = append(silent, each)
		} else {
			prompt = append(prompt, each)
		}
	}
	return prompt, silent
}

// probe sends the first transfer for each silent queue. Those behind it go to
// their next target, or nowhere.
func (r *republisher) probe(ctx context.Context, transfers []*transfer) (missing []*transfer) {
	asked := make(map[string]bool)
	for _, each := range transfers {
		queue := each.targets[each.at].queue
		if asked[queue] {
			if _, still := r.silent[queue]; still {
				each.next(errSilent)
			}
			continue // else it is for the next round
		}
		asked[queue] = true
		missing = append(missing, r.round(ctx, []*transfer{each})...)
	}
	return missing
}

// round publishes each transfer to its present target, and moves on those that
// were refused. It returns those whose queue is missing.
func (r *republisher) round(ctx context.Context, transfers []*transfer) (missing []*transfer) {
	if err := r.open(ctx); err != nil {
		for _, each := range transfers {
			each.err = err
		}
		return nil
	}
	var sent []*transfer
	var copies []rabbit.Publishing
	for _, each := range transfers {
		c, err := each.compose(each.targets[each.at], r.conn.Config.FrameSize)
		if err != nil {
			each.next(err)
			continue
		}
		sent, copies = append(sent, each), append(copies, c)
	}
	for i, err := range r.publish(ctx, copies) {
		each, queue := sent[i], copies[i].Key
		if err == nil || !errors.Is(err, rabbit.ErrUnknown) {
			delete(r.silent, queue)
		}
		var returned *rabbit.ReturnedError
		var unknown *rabbit.UnknownError
		switch {
		case err == nil:
			each.taken = true
		case errors.As(err, &returned):
			missing = append(missing, each)
		case errors.Is(err, rabbit.ErrNacked):
			r.nacked = true
			each.next(errNacked)
		case errors.Is(err, rabbit.ErrBehind): // one for a silent queue: it is for the next round
		case errors.Is(err, rabbit.ErrNoConfirm) && errors.As(err, &unknown):
			if unknown.Sent {
				r.silent[queue] = struct{}{}
				each.next(errSilent)
			} // else it was behind one for a silent queue, and is for the next round
		default: // an outage, or unfit for any queue
			each.err = err
		}
	}
	return missing
}

// publish returns the results of publishing copies, by index. When the broker
// closes the connection because of one of them, each whose result is unknown is
// sent alone, so that only the one at fault fails: with an *unfitError.
func (r *republisher) publish(ctx context.Context, copies []rabbit.Publishing) []error {
	if len(copies) == 0 {
		return nil
	}
	results := make([]error, len(copies))
	if err := r.open(ctx); err != nil {
		for i := range results {
			results[i] = &rabbit.UnknownError{Cause: err}
		}
		return results
	}
	results = r.confirmer.Publish(ctx, copies)
	var uncodable *rabbit.UncodableError
	for i, err := range results {
		switch hungUp := rabbit.Blamed(r.confirmer.Err()) == rabbit.BlameMessage; {
		case errors.As(err, &uncodable):
			results[i] = &unfitError{err}
		case hungUp && len(copies) == 1:
			results[i] = &unfitError{r.confirmer.Err()}
		}
	}
	if len(copies) > 1 && rabbit.Blamed(r.confirmer.Err()) == rabbit.BlameMessage {
		for i, err := range results {
			if errors.Is(err, rabbit.ErrUnknown) {
				results[i] = r.publish(ctx, copies[i:i+1])[0]
			}
		}
	}
	return results
}

// open makes what is missing of connection and channel, in place of what has
// broken.
func (r *republisher) open(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if r.conn != nil && r.conn.IsClosed() {
		r.hangUp()
	}
	if r.conn == nil {
		if r.conn, err = rabbit.Dial(ctx, r.cfg); err != nil {
			return err
		}
	}
	if r.confirmer == nil || r.confirmer.Err() != nil {
		r.confirmer, err = r.conn.Confirmer(ctx, rabbit.ConfirmerConfig{Window: republishWindow, Stall: r.timeout, BlockLimit: r.timeout})
	}
	return err
}

func (r *republisher) restore(ctx context.Context) error {
	if err := r.open(ctx); err != nil {
		return err
	}
	return r.ensure(ctx, r.conn)
}

func (r *republisher) hangUp() {
	if r.conn != nil {
		r.conn.Close()
	}
	r.conn, r.confirmer = nil, nil
}

// close ends the connection; life has ended before.
func (r *republisher) close() {
	r.turn <- struct{}{}
	r.hangUp()
	<-r.turn
}
