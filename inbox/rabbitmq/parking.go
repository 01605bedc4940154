package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/wire"
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

	conn      *rabbit.Conn      // nil: to be made
	confirmer *rabbit.Confirmer // nil: to be made
}

func newParking(life context.Context, cfg rabbit.Config, timeout time.Duration, ensure func(context.Context, *rabbit.Conn) error) *parking {
	return &parking{life: life, cfg: cfg, timeout: timeout, ensure: ensure, turn: make(chan struct{}, 1)}
}

// send publishes copies in their order and returns the verdicts by index: nil
// once the broker has confirmed and routed. A queue that has gone missing is
// set up again, once.
func (p *parking) send(ctx context.Context, copies []rabbit.Publishing) []error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.timeout, fmt.Errorf("not confirmed within %v", p.timeout))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer context.AfterFunc(p.life, func() { stop(ErrClosed) })()

	verdicts := make([]error, len(copies))
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		fill(verdicts, context.Cause(ctx))
		return verdicts
	}
	p.publish(ctx, copies, verdicts)

	var again []int
	var missing bool
	for i, err := range verdicts {
		var returned *rabbit.ReturnedError
		var uncodable *rabbit.UncodableError
		switch {
		case errors.As(err, &returned):
			missing = true
			again = append(again, i)
		case errors.As(err, &uncodable) && shorten(&copies[i]):
			again = append(again, i)
		}
	}
	if missing {
		if err := p.restore(ctx); err != nil {
			for _, i := range again {
				verdicts[i] = errors.Join(verdicts[i], err)
			}
			return verdicts
		}
	}
	second, secondVerdicts := make([]rabbit.Publishing, len(again)), make([]error, len(again))
	for n, i := range again {
		second[n] = copies[i]
	}
	p.publish(ctx, second, secondVerdicts)
	for n, i := range again {
		verdicts[i] = secondVerdicts[n]
	}
	return verdicts
}

func (p *parking) publish(ctx context.Context, copies []rabbit.Publishing, verdicts []error) {
	if len(copies) == 0 {
		return
	}
	if err := p.open(ctx); err != nil {
		fill(verdicts, err)
		return
	}
	copy(verdicts, p.confirmer.Publish(ctx, copies))
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
		p.confirmer, err = p.conn.Confirmer(ctx, rabbit.ConfirmerConfig{Window: parkingWindow, Stall: p.timeout, Timeout: p.timeout})
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

// shorten leaves the error texts out of a copy whose headers, with them, do
// not fit a frame any more; false when there are none.
func shorten(c *rabbit.Publishing) bool {
	before := len(c.Headers)
	delete(c.Headers, wire.HeaderFirstError)
	delete(c.Headers, wire.HeaderLastError)
	return len(c.Headers) < before
}

func fill(verdicts []error, err error) {
	for i := range verdicts {
		verdicts[i] = err
	}
}
