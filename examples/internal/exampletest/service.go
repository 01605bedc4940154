package exampletest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/auth"
	"github.com/asimalizada/pulse-events/examples/internal/service"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Service is a service of the examples.
type Service interface {
	Run(ctx context.Context, ln net.Listener) error
}

// Stack is one way to build the services. Its methods are tests that every
// stack has to pass.
type Stack struct {
	Orders        func(service.Settings) (Service, error)
	Notifications func(s service.Settings, queue string) (Service, error)

	auth func(*slog.Logger) (*auth.Verifier, error) // nil: nobody is asked
}

// Patience is how long a test waits for what must happen.
const Patience = 30 * time.Second

// Nobody is a broker's address at which nothing listens.
const Nobody = "amqp://guest:guest@127.0.0.1:1/"

// Settings of a service on a database of its own, without a broker.
func Settings(t *testing.T, on Platform) (service.Settings, *Journal) {
	t.Helper()
	logs := new(Journal)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("logs:\n%s", logs)
		}
	})
	return service.Settings{
		DatabaseURL:  on.Database(t),
		AMQPURL:      Nobody,
		AutoMigrate:  true,
		StartTimeout: Patience, DatabaseTimeout: Patience, // the machine may be busy
		Logger: service.NewLogger(logs, false, slog.LevelDebug),
	}, logs
}

// guard makes a service ask who calls, if the stack is to.
func (k Stack) guard(t *testing.T, s *service.Settings) {
	t.Helper()
	if k.auth == nil {
		return
	}
	var err error
	if s.Auth, err = k.auth(s.Logger); err != nil {
		t.Fatal(err)
	}
}

// Start runs a service until the test ends, which fails if Run does, and
// returns its address once it is ready.
func Start(t *testing.T, service Service) string {
	t.Helper()
	url, stop := StartUntil(t, service)
	t.Cleanup(stop)
	return url
}

// StartUntil runs a service until stop is called.
func StartUntil(t *testing.T, service Service) (url string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Run(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	url = "http://" + ln.Addr().String()
	testenv.Eventually(t, Patience, "the service to be ready", func() bool {
		status, _ := Ask(t, http.MethodGet, url+"/health/ready", "")
		return status == http.StatusOK
	})
	return url, stop
}

// StartOrders runs the orders service without a broker.
func (k Stack) StartOrders(t *testing.T, on Platform) (url string, s service.Settings, logs *Journal) {
	t.Helper()
	s, logs = Settings(t, on)
	orders, err := k.Orders(s)
	if err != nil {
		t.Fatal(err)
	}
	return Start(t, orders), s, logs
}

// Placed is the answer to an order.
type Placed struct{ OrderID, EventID, CorrelationID string }
