package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/internal/sqlite"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// brokerStop is how long clients may take to close their connections.
const brokerStop = 5 * time.Second

// embeddedLeaseTTL is how long the messages of a killed process wait for the
// next process: there is only one relay, so nothing can take over sooner.
const embeddedLeaseTTL = 3 * time.Second

// embeddedDriver runs everything in one process, with SQLite files and its own
// broker.
type embeddedDriver struct{ inProcess }

var embedded = embeddedDriver{inProcess{kind: Embedded, relay: outbox.RelayConfig{LeaseTTL: embeddedLeaseTTL}, around: embed}}

func (embeddedDriver) Configure(cfg *Config, _ func() (Services, []error)) []error {
	errs := []error{checkAddr("broker-addr", cfg.BrokerAddr)}
	if host, _, err := net.SplitHostPort(cfg.BrokerAddr); err == nil && host != "localhost" && !net.ParseIP(host).IsLoopback() {
		errs = append(errs, fail.Usagef("for example: --broker-addr 127.0.0.1:5673", "--broker-addr: %s can be reached from other machines, and the password of this broker is public", cfg.BrokerAddr))
	}
	if cfg.Ephemeral && cfg.DataDir != "" {
		errs = append(errs, fail.Usagef("", "give --data-dir or --ephemeral, not both"))
	}
	errs = append(errs, cfg.onlyCompose(), cfg.readTelemetry(), cfg.readAuth(!cfg.Auth), cfg.readLimits(), cfg.refuseCertificates())
	cfg.DataDir = cmp.Or(cfg.DataDir, filepath.Join(cfg.Dir, "data"))
	return errs
}

func (d embeddedDriver) Up(ctx context.Context, cfg Config, ready func(State)) (err error) {
	if cfg.Ephemeral {
		if cfg.DataDir, err = os.MkdirTemp("", "pulse-events-"); err != nil {
			return fail.Wrap("cannot create a temporary directory", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(cfg.DataDir)) }()
	}
	return d.up(ctx, cfg, "check the free space: df -h "+console.Quoted(cfg.DataDir)+"; or start with other data: pulsectl up --ephemeral", ready)
}

func (d embeddedDriver) Describe(s State) Description {
	text := d.inProcess.Describe(s)
	text.Warning = "one process, SQLite files, a broker for development"
	return text
}

func (embeddedDriver) Control(s State) (control.Client, error) {
	return control.Client{URL: s.ControlURL, Token: s.ControlToken}, nil
}

func (d embeddedDriver) Change(ctx context.Context, s State, c Change, _ ChangeOptions) (string, error) {
	if c.Server == Database {
		return "", fail.Usagef("use a stack with a server: pulsectl down, then: pulsectl up --stack compose",
			"SQLite runs inside the process: there is no database to %s", c.Action)
	}
	broker, err := d.Control(s)
	if err != nil {
		return "", err
	}
	switch c.Action {
	case Stop:
		err = broker.Inject(ctx, control.Fault{Kind: devbroker.FaultDown})
	case Start:
		err = broker.Clear(ctx, devbroker.FaultDown)
	case Restart:
		err = broker.Restart(ctx)
	}
	return "", fail.Wrap("cannot "+c.Action.String()+" the broker", err)
}

func (embeddedDriver) Restart() []Change { return []Change{{Broker, Restart}} }

func (d embeddedDriver) Faults(ctx context.Context, s State) ([]control.Fault, error) {
	broker, err := d.Control(s)
	if err != nil {
		return nil, err
	}
	faults, err := broker.Faults(ctx)
	return faults, fail.Wrap("cannot list the faults", err)
}

func (d embeddedDriver) Mend(ctx context.Context, s State, _ *console.IO) error {
	broker, err := d.Control(s)
	if err != nil {
		return err
	}
	return fail.Wrap("cannot clear all faults", broker.Clear(ctx, ""))
}

// RunEmbedded runs an embedded stack in this process until ctx ends, without
// output. ready is called once its services answer. With Auth, Getenv is asked whom
// they let in.
func RunEmbedded(ctx context.Context, cfg Config, ready func(State)) error {
	if cfg.Auth {
		if err := cfg.readAuth(false); err != nil {
			return err
		}
	}
	return embedded.run(ctx, cfg, ready)
}

// embed starts a broker with its files in cfg.DataDir and an endpoint for
// faults, completes state, and runs services with it. The broker stops after
// the services, so that they can finish what is in flight.
func embed(ctx context.Context, cfg Config, state *State, services func(context.Context) error) (err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	broker, err := devbroker.Start(context.WithoutCancel(ctx), devbroker.Config{
		Addr: cfg.BrokerAddr, ManagementAddr: "127.0.0.1:0", DataDir: filepath.Join(cfg.DataDir, "broker"), Logger: cfg.Logger.With("service", "broker"),
	})
	if err != nil {
		return explainPort("broker", "broker-addr", cfg.BrokerAddr, err)
	}
	defer func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), brokerStop)
		defer cancel()
		err = errors.Join(err, broker.Shutdown(limit))
	}()
	endpoint, err := control.Listen(broker, cfg.poison)
	if err != nil {
		return err
	}
	state.DataDir, state.AMQPURL = cfg.DataDir, broker.URL()
	state.OutboxDB = sqlite.URL(filepath.Join(cfg.DataDir, "orders.db"))
	state.InboxDB = sqlite.URL(filepath.Join(cfg.DataDir, "notifications.db"))
	state.ManagementURL = broker.ManagementURL()
	state.ControlURL, state.ControlToken = endpoint.URL(), endpoint.Token()

	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return endpoint.Serve(running) })
	group.Go(func() error {
		select {
		case <-broker.Done(): // it failed, for example because the disk is full
			return fmt.Errorf("broker: %w", broker.Err())
		case <-running.Done():
			return nil
		}
	})
	group.Go(func() error { return services(running) })
	return group.Wait()
}
