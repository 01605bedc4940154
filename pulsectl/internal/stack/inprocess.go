package stack

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// inProcess is shared by the drivers whose stacks run in a process of pulsectl:
// both services, with relay and consumer.
type inProcess struct {
	kind  Kind
	relay outbox.RelayConfig
	// around starts what the services need, adds its addresses to state, and
	// runs them.
	around func(ctx context.Context, cfg Config, state *State, services func(context.Context) error) error
}

func (p inProcess) Kind() Kind   { return p.kind }
func (inProcess) Detached() bool { return false }

func (inProcess) Containers(context.Context, State) ([]compose.Container, error) { return nil, nil }

func (inProcess) Describe(s State) Description {
	d := Description{
		Name: fmt.Sprintf("%s, process %d", s.Stack, s.PID), Place: fmt.Sprintf("process %d", s.PID),
		Try: "try, in another terminal:", Stop: "stop with Ctrl-C or: pulsectl down",
	}
	d.Status = d.Name + ", up since " + s.StartedAt.Local().Format(time.DateTime)
	if s.PID != os.Getpid() { // started in the background
		d.Try, d.Stop = "try:", "stop with: pulsectl down"
	}
	return d
}

// up runs a stack in this process until ctx ends, and reports progress. hint is
// for a failed start if there is no better one.
func (p inProcess) up(ctx context.Context, cfg Config, hint string, ready func(State)) error {
	if s, err := Load(cfg.Dir); err == nil || errors.As(err, new(*StartingError)) {
		return AlreadyRunning(s, err)
	}
	out := cfg.Console
	out.Notef("starting the %s stack", p.kind)
	var waitedFor atomic.Value
	waitedFor.Store("the stack")
	cfg.Waiting = func(service string) { waitedFor.Store("the " + service + " service") }
	stopReminding := out.Remind(func() string { return waitedFor.Load().(string) + " to be ready" })
	defer stopReminding()
	stopTelling := context.AfterFunc(ctx, func() {
		out.Notef("stopping after work in progress is finished; press Ctrl-C again to stop at once")
	})
	defer stopTelling()

	isReady := false
	err := p.run(ctx, cfg, func(s State) {
		stopReminding()
		isReady = true
		ready(s)
	})
	switch taken := new(PortTakenError); {
	case errors.Is(err, ErrRunning):
		return AlreadyRunning(Load(cfg.Dir))
	case errors.As(err, &taken):
		set := "pulsectl up --" + taken.Flag + " 127.0.0.1:0"
		if taken.Flag == "" {
			set = taken.Variable + "=127.0.0.1:0 pulsectl up"
		}
		return fail.New(fail.General, "stop it, or choose another address: "+set, "%v", err)
	case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
		if !isReady {
			return fail.New(fail.Interrupted, "", "interrupted, before the stack was ready")
		}
		return nil // stopped as requested
	case err == nil:
		return nil
	case !isReady:
		f := fail.From(CannotStart(err))
		f.Hint = cmp.Or(f.Hint, hint)
		return f
	}
	return fail.Wrap("the stack ended", err)
}

// Down asks the process to end and waits until it has.
func (inProcess) Down(ctx context.Context, s State, o DownOptions) error {
	if o.Volumes {
		return fail.Usagef("for containers that are not recorded: pulsectl down --stack compose --volumes", "--volumes: no compose stack is running")
	}
	if err := stop(s.PID); err != nil {
		return fail.Wrap(fmt.Sprintf("cannot stop process %d", s.PID), err)
	}
	return o.Console.Until(ctx, o.Timeout, "the stack to stop", func(context.Context) (string, error) {
		_, err := Load(o.Dir)
		if errors.Is(err, ErrNotRunning) && !errors.As(err, new(*StartingError)) {
			return "", nil
		}
		if err != nil && !errors.Is(err, ErrNotRunning) {
			return "", err
		}
		return fmt.Sprintf("process %d is still running", s.PID), nil
	})
}

// run runs both services in this process until ctx ends. ready is called once
// both answer; the state file exists from then on until run returns.
func (p inProcess) run(ctx context.Context, cfg Config, ready func(State)) (err error) {
	claimed, err := Claim(cfg.Dir, p.kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Release()) }()

	ordersListener, err := listen("orders service", "orders-addr", cmp.Or(cfg.OrdersAddr, "127.0.0.1:6101"))
	if err != nil {
		return err
	}
	defer ordersListener.Close()
	notificationsListener, err := listen("notifications service", "notifications-addr", cmp.Or(cfg.NotificationsAddr, "127.0.0.1:6102"))
	if err != nil {
		return err
	}
	defer notificationsListener.Close()
	scheme, trusted := "http", certificate{}
	if cfg.TLS {
		trusted, err = issueCertificate(filepath.Join(cfg.Dir, "tls"), ordersListener.Addr(), notificationsListener.Addr())
		if err != nil {
			return err
		}
		scheme, cfg.served.HTTPS.Cert, cfg.served.HTTPS.Key = "https", trusted.Cert, trusted.Key
	}
	cfg.poison = new(control.Poison)
	telemetry, err := startTelemetry(ctx, cfg)
	if err != nil {
		return err
	}
	defer telemetry.Shutdown() // when the services have ended, and said all
	state := State{
		Stack: p.kind, PID: os.Getpid(), StartedAt: time.Now().UTC(), LogFile: cfg.LogFile, UIURL: cfg.UIURL, APIToken: cfg.apiToken,
		OrdersURL: scheme + "://" + ordersListener.Addr().String(), NotificationsURL: scheme + "://" + notificationsListener.Addr().String(), APICAFile: trusted.CA,
		OrdersMetricsURL: telemetry.MetricsURL(), NotificationsMetricsURL: telemetry.MetricsURL(),
	}
	return p.around(ctx, cfg, &state, func(ctx context.Context) error {
		return p.serve(ctx, cfg, state, trusted.client, ordersListener, notificationsListener, func() error {
			if err := claimed.Publish(state); err != nil {
				return err
			}
			ready(state)
			return nil
		})
	})
}

// serve runs the services with the servers in state, and calls ready once they
// answer clients that trust them.
func (p inProcess) serve(ctx context.Context, cfg Config, state State, trust *tls.Config, ordersListener, notificationsListener net.Listener, ready func() error) error {
	orders, err := stdlib.NewOrders(stdlib.OrdersConfig{Relay: p.relay, Settings: stdlib.Settings{
		DatabaseURL: state.OutboxDB, GetDatabaseURL: cfg.Rotated.OutboxDB,
		AMQPURL: state.AMQPURL, GetAMQPURL: cfg.Rotated.AMQPURL, GetAMQPTLS: cfg.Rotated.AMQPTLS,
		AutoMigrate: true, Auth: cfg.auth, HTTPS: cfg.served.HTTPS, Limits: cfg.served.Limits, Logger: cfg.Logger,
	}})
	if err != nil {
		return err
	}
	notifications, err := stdlib.NewNotifications(stdlib.NotificationsConfig{Around: cfg.poison.Handler, Settings: stdlib.Settings{
		DatabaseURL: state.InboxDB, GetDatabaseURL: cfg.Rotated.InboxDB,
		AMQPURL: state.AMQPURL, GetAMQPURL: cfg.Rotated.AMQPURL, GetAMQPTLS: cfg.Rotated.AMQPTLS,
		AutoMigrate: true, Auth: cfg.auth, HTTPS: cfg.served.HTTPS, Limits: cfg.served.Limits, Logger: cfg.Logger,
	}})
	if err != nil {
		return errors.Join(err, orders.Close())
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return orders.Run(running, ordersListener) })
	group.Go(func() error { return notifications.Run(running, notificationsListener) })
	group.Go(func() error {
		for _, s := range []struct{ name, url string }{{"orders", state.OrdersURL}, {"notifications", state.NotificationsURL}} {
			if cfg.Waiting != nil {
				cfg.Waiting(s.name)
			}
			if err := awaitReady(running, s.url, trust, accepts); err != nil {
				return err
			}
		}
		if p.kind == Embedded {
			// The first order is not to find that nobody has declared the queue.
			limit, cancel := context.WithTimeout(running, consumerLimit)
			defer cancel()
			if err := awaitReady(limit, state.NotificationsURL, trust, consumes); err != nil && running.Err() != nil {
				return err
			}
		}
		return ready()
	})
	return group.Wait()
}

func listen(part, flag, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, explainPort(part, flag, addr, err)
	}
	return ln, nil
}

const (
	readyInterval = 50 * time.Millisecond
	readyTimeout  = 5 * time.Second // of one request
	// consumerLimit is how long a consumer may take to find the broker of its own process.
	consumerLimit = 10 * time.Second
)

// readiness is what a service says of itself.
type readiness struct {
	status   int
	Consumer struct{ State inbox.State }
}

func accepts(r readiness) bool  { return r.status == http.StatusOK }
func consumes(r readiness) bool { return accepts(r) && r.Consumer.State != inbox.Starting }

// awaitReady polls a service until it says what is wanted or ctx ends.
func awaitReady(ctx context.Context, base string, trust *tls.Config, wanted func(readiness) bool) error {
	client := http.Client{Timeout: readyTimeout, Transport: &http.Transport{TLSClientConfig: trust}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health/ready", nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			said := readiness{status: res.StatusCode}
			err := json.NewDecoder(res.Body).Decode(&said)
			_ = res.Body.Close()
			if err == nil && wanted(said) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
