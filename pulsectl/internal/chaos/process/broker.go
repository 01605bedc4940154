package process

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

// broker is the development broker with its files in DataDir, and an endpoint for
// its faults.
func (c Config) broker(ctx context.Context, log *slog.Logger, ready func(Ready) error) (err error) {
	broker, err := devbroker.Start(ctx, devbroker.Config{Addr: "127.0.0.1:0", ManagementAddr: "127.0.0.1:0", DataDir: c.DataDir, Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		err = errors.Join(err, broker.Shutdown(limit))
	}()
	endpoint, err := control.Listen(broker, new(control.Poison))
	if err != nil {
		return err
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return endpoint.Serve(running) })
	group.Go(func() error {
		select {
		case <-broker.Done():
			return broker.Err()
		case <-running.Done():
			return nil
		}
	})
	group.Go(func() error {
		return ready(Ready{URL: broker.URL(), ControlURL: endpoint.URL(), ControlToken: endpoint.Token(), ManagementURL: broker.ManagementURL()})
	})
	return group.Wait()
}
