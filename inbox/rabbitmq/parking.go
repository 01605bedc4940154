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

// parkingWindow is how many copies may be without a confirm.
const parkingWindow = 256

// parking publishes to retry and dead-letter queues. Its connection is its own
// and made when first needed: a broker that is short of memory stops reading
// from connections that publish, and acknowledgements must still get through.
type parking struct {
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

func newParking(life context.Context, cfg rabbit.Config, timeout time.Duration, ensure func(context.Context, *rabbit.Conn) error) *parking {
	return &parking{life: life, cfg: cfg, timeout: timeout, ensure: ensure, turn: make(chan struct{}, 1), silent: make(map[string]struct{})}
}

// stop is a queue that may take a message, and what that amounts to.
type stop struct {
	queue  string
	action inbox.Action
}

// parcel is a message on its way to the first of several queues that takes it.
type parcel struct {
	stops []stop
	// compose makes the copy for a stop, fit for frames of a size. An unfitError
	// says that there is none.
	compose func(to stop, frameMax int) (rabbit.Publishing, error)

	at       int     // the stop it is for, and once taken has come to
	taken    bool    // confirmed
	refusals []error // by the stops before
	err      error   // not taken: why, as far as it went
}

// unfitError: a message that cannot be published as it would have to be.
type unfitError struct{ cause error }

func (e *unfitError) Error() string { return e.cause.Error() }
func (e *unfitError) Unwrap() error { return e.cause }

// next gives the parcel its next stop, and reports whether there is one.
func (p *parcel) next(refusal error) bool {
	p.refusals = append(p.refusals, fmt.Errorf("queue %q: %w", p.stops[p.at].queue, refusal))
	if p.at+1 == len(p.stops) {
		p.err = &refusedError{p.refusals}
		return false
	}
	p.at++
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

// send takes parcels to the first of their stops that confirms, in their order
// as far as that is the same. A queue that has gone missing is set up again,
// once. A queue that does not confirm in time is asked with one message at a
// time, after the others.
func (p *parking) send(ctx context.Context, parcels []*parcel) {
	limit := 3 * p.timeout // for several stops
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not confirmed within %v", limit))
	defer cancel()
	ctx, end := context.WithCancelCause(ctx)
	defer context.AfterFunc(p.life, func() { end(ErrClosed) })()

	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		for _, each := range parcels {
			each.err = context.Cause(ctx)
		}
		return
	}
	if p.nacked && p.confirmer != nil {
		// RabbitMQ remembers with the channel that a quorum queue refuses, and
		// does not always learn that there is room again.
		p.confirmer.Close()
		p.confirmer, p.nacked = nil, false
	}
	restored := false
	for len(parcels) > 0 {
		prompt, silent := p.sort(parcels)
		missing := append(p.round(ctx, prompt), p.probe(ctx, silent)...)
		if len(missing) > 0 && !restored {
			restored = true
			if err := p.restore(ctx); err == nil {
				missing = nil // all of them once more
			} else {
				missing[0].refusals = append(missing[0].refusals, err)
			}
		}
		for _, each := range missing {
			each.next(errMissing)
		}
		parcels = unsettled(prompt, silent)
	}
}

var (
	errMissing = errors.New("there is no such queue (NO_ROUTE)")
	errNacked  = errors.New("nacked: the queue refuses it, as one at its maximum length does")
	errSilent  = errors.New("has not confirmed in time, as a queue without a majority of its nodes")
)

// unsettled returns the parcels that have somewhere to go.
func unsettled(lists ...[]*parcel) (left []*parcel) {
	for _, list := range lists {
		for _, each := range list {
			if !each.taken && each.err == nil {
				left = append(left, each)
			}
		}
	}
	return left
}

// sort takes apart the parcels for queues that answer and for those that did
// not when last asked.
func (p *parking) sort(parcels []*parcel) (prompt, silent []*parcel) {
	for _, each := range parcels {
		if _, is := p.silent[each.stops[each.at].queue]; is {
			silent = append(silent, each)
		} else {
			prompt = append(prompt, each)
		}
	}
	return prompt, silent
}

// probe sends the first parcel for each silent queue. Those behind it go to
// their next stop, or nowhere.
func (p *parking) probe(ctx context.Context, parcels []*parcel) (missing []*parcel) {
	asked := make(map[string]bool)
	for _, each := range parcels {
		queue := each.stops[each.at].queue
		if asked[queue] {
			if _, still := p.silent[queue]; still {
				each.next(errSilent)
			}
			continue // else it is for the next round
		}
		asked[queue] = true
		missing = append(missing, p.round(ctx, []*parcel{each})...)
	}
	return missing
}

// round publishes each parcel for its present stop, and moves on those that
// were refused. It returns those whose queue is missing.
func (p *parking) round(ctx context.Context, parcels []*parcel) (missing []*parcel) {
	if err := p.open(ctx); err != nil {
		for _, each := range parcels {
			each.err = err
		}
		return nil
	}
	var sent []*parcel
	var copies []rabbit.Publishing
	for _, each := range parcels {
		c, err := each.compose(each.stops[each.at], p.conn.Config.FrameSize)
		if err != nil {
			each.next(err)
			continue
		}
		sent, copies = append(sent, each), append(copies, c)
	}
	for i, verdict := range p.publish(ctx, copies) {
		each, queue := sent[i], copies[i].Key
		if verdict == nil || !errors.Is(verdict, rabbit.ErrUnknown) {
			delete(p.silent, queue)
		}
		var returned *rabbit.ReturnedError
		var unknown *rabbit.UnknownError
		switch {
		case verdict == nil:
			each.taken = true
		case errors.As(verdict, &returned):
			missing = append(missing, each)
		case errors.Is(verdict, rabbit.ErrNacked):
			p.nacked = true
			each.next(errNacked)
		case errors.Is(verdict, rabbit.ErrBehind): // one for a silent queue: it is for the next round
		case errors.Is(verdict, rabbit.ErrNoConfirm) && errors.As(verdict, &unknown):
			if unknown.Sent {
				p.silent[queue] = struct{}{}
				each.next(errSilent)
			} // else it was behind one for a silent queue, and is for the next round
		default: // an outage, or unfit for any queue
			each.err = verdict
		}
	}
	return missing
}

// publish returns the verdicts on copies by index. When the broker hangs up
// over one of them, each whose fate is unknown is sent alone, so that the
// culprit alone suffers: an *unfitError.
func (p *parking) publish(ctx context.Context, copies []rabbit.Publishing) []error {
	if len(copies) == 0 {
		return nil
	}
	verdicts := make([]error, len(copies))
	if err := p.open(ctx); err != nil {
		for i := range verdicts {
			verdicts[i] = &rabbit.UnknownError{Cause: err}
		}
		return verdicts
	}
	verdicts = p.confirmer.Publish(ctx, copies)
	var uncodable *rabbit.UncodableError
	for i, verdict := range verdicts {
		switch hungUp := rabbit.Blamed(p.confirmer.Err()) == rabbit.BlameMessage; {
		case errors.As(verdict, &uncodable):
			verdicts[i] = &unfitError{verdict}
		case hungUp && len(copies) == 1:
			verdicts[i] = &unfitError{p.confirmer.Err()}
		}
	}
	if len(copies) > 1 && rabbit.Blamed(p.confirmer.Err()) == rabbit.BlameMessage {
		for i, verdict := range verdicts {
			if errors.Is(verdict, rabbit.ErrUnknown) {
				verdicts[i] = p.publish(ctx, copies[i:i+1])[0]
			}
		}
	}
	return verdicts
}

// open makes what is missing of connection and channel, in place of what has
// broken.
func (p *parking) open(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if p.conn != nil && p.conn.IsClosed() {
		p.hangUp()
	}
	if p.conn == nil {
		if p.conn, err = rabbit.Dial(ctx, p.cfg); err != nil {
			return err
		}
	}
	if p.confirmer == nil || p.confirmer.Err() != nil {
		p.confirmer, err = p.conn.Confirmer(ctx, rabbit.ConfirmerConfig{Window: parkingWindow, Stall: p.timeout, BlockLimit: p.timeout})
	}
	return err
}

func (p *parking) restore(ctx context.Context) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	return p.ensure(ctx, p.conn)
}

func (p *parking) hangUp() {
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn, p.confirmer = nil, nil
}

// close ends the connection; life has ended before.
func (p *parking) close() {
	p.turn <- struct{}{}
	p.hangUp()
	<-p.turn
}
