package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

// brokerStop is how long the broker's clients get to say goodbye.
const brokerStop = 5 * time.Second

// embeddedLeaseTTL is how long the messages of a process that was killed wait
// for the next one.
const embeddedLeaseTTL = 3 * time.Second

// embed starts a broker over files in cfg.DataDir, with an endpoint to break
// it by, completes state, and runs services in front of it. The broker ends
// after the services, so that they can settle what is in flight.
func embed(ctx context.Context, cfg Config, state *State, services func(context.Context) error) (err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	broker, err := devbroker.Start(context.WithoutCancel(ctx), devbroker.Config{
		Addr: cfg.BrokerAddr, DataDir: filepath.Join(cfg.DataDir, "broker"), Logger: cfg.Logger.With("service", "broker"),
	})
	if err != nil {
		return explainPort("broker", "broker-addr", cfg.BrokerAddr, err)
	}
	defer func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), brokerStop)
		defer cancel()
		err = errors.Join(err, broker.Shutdown(limit))
	}()
	endpoint, err := control.Listen(broker)
	if err != nil {
		return err
	}
	state.DataDir, state.AMQPURL = cfg.DataDir, broker.URL()
	state.OutboxDB = sqlite.URL(filepath.Join(cfg.DataDir, "orders.db"))
	state.InboxDB = sqlite.URL(filepath.Join(cfg.DataDir, "notifications.db"))
	state.ControlURL, state.ControlToken = endpoint.URL(), endpoint.Token()

	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return endpoint.Serve(running) })
	group.Go(func() error {
		select {
		case <-broker.Done(): // it cannot keep its promises any more, as with a full disk
			return fmt.Errorf("broker: %w", broker.Err())
		case <-running.Done():
			return nil
		}
	})
	group.Go(func() error { return services(running) })
	return group.Wait()
}

// DefaultDataDir is where an embedded stack keeps its files: data in the
// folder of the state file.
func DefaultDataDir(dir string) string { return filepath.Join(dir, "data") }
