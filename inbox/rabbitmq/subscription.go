package rabbitmq

import (
	"context"
	"sync"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/internal/telemetry"
)

// subscription is one call of Consume. It goes through any number of links.
type subscription struct {
	source   *Source
	prefetch int
	out      chan inbox.Delivery
	closeOut func()
	accepted chan struct{} // closed by the first link
	accept   func()
	refused  chan error // the reason why there will be none
}

func newSubscription(s *Source, prefetch int) *subscription {
	sub := &subscription{
		source:   s,
		prefetch: prefetch,
		out:      make(chan inbox.Delivery),
		accepted: make(chan struct{}),
		refused:  make(chan error, 1),
	}
	sub.closeOut = sync.OnceFunc(func() { close(sub.out) })
	sub.accept = sync.OnceFunc(func() { close(sub.accepted) })
	return sub
}

// run makes links until intake ends and the last link is done. stop ends the
// intake.
func (sub *subscription) run(intake context.Context, stop func()) {
	defer sub.closeOut()
	cfg := sub.source.cfg.connection("")
	cfg.Meter = telemetry.Meter(sub.source.cfg.MeterProvider, telemetry.InboxRabbitMQ)
	cfg.OnFailure = sub.source.failed
	rabbit.Supervise(intake, cfg, func(ctx context.Context, conn *rabbit.Conn) error {
		l, err := sub.open(ctx, conn)
		if err != nil {
			if mismatch(err) && !sub.wasAccepted() {
				sub.refused <- err
				stop()
			}
			return err
		}
		defer l.end()
		defer sub.source.up(l)()
		sub.accept()
		sub.source.cfg.Logger.InfoContext(ctx, "consuming", "queue", sub.source.names.Queue, "prefetch", sub.prefetch)
		if err := l.pump(ctx, sub.out); err != nil {
			return err
		}
		requeued := sub.source.beginRequeue()
		defer requeued()
		sub.closeOut() // whoever closes the source now waits for the rest
		return l.windDown(requeued)
	})
}

func (sub *subscription) wasAccepted() bool {
	select {
	case <-sub.accepted:
		return true
	default:
		return false
	}
}
