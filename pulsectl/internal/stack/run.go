package stack

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/rabbit"
	"github.com/asimalizada/pulse-events/outbox"
)

// Config says what to run a stack on. An embedded one brings databases and
// broker along, an external one is told where they are.
type Config struct {
	Kind Kind
	// Addresses of the services. Empty: 127.0.0.1:6101 and 127.0.0.1:6102.
	OrdersAddr, NotificationsAddr string
	// External: where databases and broker are, and how to stop and start them.
	OutboxDB, InboxDB, AMQPURL    string
	Rotated                       Rotated
	BrokerStopCmd, BrokerStartCmd string
	DBStopCmd, DBStartCmd         string
	// Embedded: the folder of its files, and where its broker listens.
	DataDir, BrokerAddr string

	Dir     string // of the state file
	LogFile string // noted, where there is one
	Logger  *slog.Logger
	// Waiting is told which service is asked whether it is ready. Nil: nobody.
	Waiting func(service string)
}

// Rotated asks for what may have changed since the start, at each connect. What
// is nil does not change.
type Rotated struct {
	OutboxDB, InboxDB, AMQPURL func(context.Context) (string, error)
	AMQPTLS                    func(context.Context) (*tls.Config, error)
}

// Run runs both services, with relay and consumer, in this process until ctx
// ends. ready is called once both answer; the state file stands from then on
// until Run returns.
func Run(ctx context.Context, cfg Config, ready func(State)) (err error) {
	claimed, err := Claim(cfg.Dir, cfg.Kind)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Release()) }()

	state := State{
		Stack: cfg.Kind, PID: os.Getpid(), StartedAt: time.Now().UTC(),
		OutboxDB: cfg.OutboxDB, InboxDB: cfg.InboxDB, AMQPURL: cfg.AMQPURL,
		BrokerStopCmd: cfg.BrokerStopCmd, BrokerStartCmd: cfg.BrokerStartCmd,
		DBStopCmd: cfg.DBStopCmd, DBStartCmd: cfg.DBStartCmd, LogFile: cfg.LogFile,
	}
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
	state.OrdersURL, state.NotificationsURL = baseURL(ordersListener), baseURL(notificationsListener)

	if cfg.Kind != Embedded {
		return serve(ctx, cfg, state, claimed, ordersListener, notificationsListener, ready)
	}
	return embed(ctx, cfg, &state, func(ctx context.Context) error {
		return serve(ctx, cfg, state, claimed, ordersListener, notificationsListener, ready)
	})
}

// serve runs the services on what state names.
func serve(ctx context.Context, cfg Config, state State, claimed *Claimed, ordersListener, notificationsListener net.Listener, ready func(State)) error {
	var relay outbox.RelayConfig
	if cfg.Kind == Embedded {
		// The only relay there is: after a kill -9 nobody else can take over sooner.
		relay.LeaseTTL = embeddedLeaseTTL
	}
	orders, err := stdlib.NewOrders(stdlib.OrdersConfig{Relay: relay, Settings: stdlib.Settings{
		DatabaseURL: state.OutboxDB, GetDatabaseURL: cfg.Rotated.OutboxDB,
		AMQPURL: state.AMQPURL, GetAMQPURL: cfg.Rotated.AMQPURL, GetAMQPTLS: cfg.Rotated.AMQPTLS,
		AutoMigrate: true, Logger: cfg.Logger,
	}})
	if err != nil {
		return err
	}
	notifications, err := stdlib.NewNotifications(stdlib.NotificationsConfig{Settings: stdlib.Settings{
		DatabaseURL: state.InboxDB, GetDatabaseURL: cfg.Rotated.InboxDB,
		AMQPURL: state.AMQPURL, GetAMQPURL: cfg.Rotated.AMQPURL, GetAMQPTLS: cfg.Rotated.AMQPTLS,
		AutoMigrate: true, Logger: cfg.Logger,
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
			if err := awaitReady(running, s.url); err != nil {
				return err
			}
		}
		if err := claimed.Publish(state); err != nil {
			return err
		}
		ready(state)
		return nil
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

func baseURL(ln net.Listener) string { return "http://" + ln.Addr().String() }

const (
	readyInterval = 50 * time.Millisecond
	readyTimeout  = 5 * time.Second // of one question
)

// awaitReady asks a service until it is ready or ctx ends.
func awaitReady(ctx context.Context, base string) error {
	client := http.Client{Timeout: readyTimeout}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/health/ready", nil)
		if err != nil {
			return err
		}
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
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

// Redacted returns s with the passwords of its URLs hidden, for showing.
func (s State) Redacted() State {
	s.OutboxDB = rabbit.RedactURL(s.OutboxDB)
	s.InboxDB = rabbit.RedactURL(s.InboxDB)
	s.AMQPURL = rabbit.RedactURL(s.AMQPURL)
	return s
}
