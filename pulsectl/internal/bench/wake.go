package bench

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/postgres"
)

// waker returns what tells a relay that a message was committed, in the way of c.
func (c Config) waker(ctx context.Context, p *place, relay *outbox.Relay) (wake func(), stop func() error, err error) {
	none := func() error { return nil }
	switch c.Wake {
	case ByPolling:
		return func() {}, none, nil
	case ByNotify:
		return c.notifier(ctx, p, relay)
	default:
		return relay.Wake, none, nil
	}
}

// notifier notifies the relay by the server, over sessions of their own.
func (c Config) notifier(ctx context.Context, p *place, relay *outbox.Relay) (wake func(), stop func() error, err error) {
	if p.schema == "" {
		return nil, nil, errors.New("SQLite has no notifications; measure with --wake call or poll")
	}
	listener, err := postgres.NewListener(postgres.ListenerConfig{Config: postgres.Config{URL: c.Database}, Channel: p.schema, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	notifier, err := postgres.NewNotifier(p.db, postgres.NotifierConfig{Channel: p.schema, Logger: quiet})
	if err != nil {
		return nil, nil, err
	}
	run := start(ctx, func(ctx context.Context) error { return listener.Run(ctx, relay.Wake) })
	stop = func() error { return errors.Join(notifier.Close(), run.stop()) }
	if err := eventually(ctx, "listening", run.ended, func() bool { up, _ := listener.Health(); return up }); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return notifier.Notify, stop, nil
}
