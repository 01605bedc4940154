package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/rabbit"
)

// ExternalConfig says where the databases and the broker of an external
// stack are, and where its services listen.
type ExternalConfig struct {
	OutboxDB, InboxDB, AMQPURL    string
	OrdersAddr, NotificationsAddr string // empty: 127.0.0.1:6101 and :6102
	BrokerStopCmd, BrokerStartCmd string // noted for chaos
	Dir                           string // of the state file
	LogFile                       string // noted, where there is one
	Logger                        *slog.Logger
}

// RunExternal runs both services, with relay and consumer, in this process
// until ctx ends. ready is called once both answer; the state file stands
// from then on until RunExternal returns.
func RunExternal(ctx context.Context, cfg ExternalConfig, ready func(State)) (err error) {
	claimed, err := Claim(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Release()) }()

	ordersListener, err := listen("orders", cfg.OrdersAddr)
	if err != nil {
		return err
	}
	defer ordersListener.Close()
	notificationsListener, err := listen("notifications", cfg.NotificationsAddr)
	if err != nil {
		return err
	}
	defer notificationsListener.Close()

	orders, err := stdlib.NewOrders(stdlib.OrdersConfig{Settings: stdlib.Settings{
		DatabaseURL: cfg.OutboxDB, AMQPURL: cfg.AMQPURL, AutoMigrate: true, Logger: cfg.Logger,
	}})
	if err != nil {
		return err
	}
	notifications, err := stdlib.NewNotifications(stdlib.NotificationsConfig{Settings: stdlib.Settings{
		DatabaseURL: cfg.InboxDB, AMQPURL: cfg.AMQPURL, AutoMigrate: true, Logger: cfg.Logger,
	}})
	if err != nil {
		return errors.Join(err, orders.Close())
	}

	state := State{
		Stack: External, PID: os.Getpid(), StartedAt: time.Now().UTC(),
		OutboxDB: cfg.OutboxDB, InboxDB: cfg.InboxDB, AMQPURL: cfg.AMQPURL,
		OrdersURL: baseURL(ordersListener), NotificationsURL: baseURL(notificationsListener),
		BrokerStopCmd: cfg.BrokerStopCmd, BrokerStartCmd: cfg.BrokerStartCmd, LogFile: cfg.LogFile,
	}
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error { return orders.Run(running, ordersListener) })
	group.Go(func() error { return notifications.Run(running, notificationsListener) })
	group.Go(func() error {
		for _, base := range []string{state.OrdersURL, state.NotificationsURL} {
			if err := awaitReady(running, base); err != nil {
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

func listen(service, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s service: %w", service, err)
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
