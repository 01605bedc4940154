package faults_test

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	shown "github.com/asimalizada/pulse-events/internal/health"
	"github.com/asimalizada/pulse-events/internal/netfault"
	"github.com/asimalizada/pulse-events/internal/testenv"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/outbox/rabbitmq"
)

// partitionKinds are the ways in which a network fails between two parties.
var partitionKinds = []struct {
	name string
	cut  func(*testenv.Proxy)
}{
	{"refused", func(p *testenv.Proxy) { p.Partition() }},
	// Nothing arrives, and nobody is told. What was sent arrives after the end: also
	// commits and acknowledgements that nobody waits for any more.
	{"half-open", func(p *testenv.Proxy) { p.Freeze() }},
	{"requests lost", func(p *testenv.Proxy) { p.Lose(netfault.ToServer) }},
	{"answers lost", func(p *testenv.Proxy) { p.Lose(netfault.ToClient) }},
}

// party is a part of the system with one side of a network that fails.
type party struct {
	link *testenv.Proxy // to the other side
	stop func() error
	// trouble returns what health says does not work; "" while everything does.
	trouble func() string
}

// partitionPairs are the pairs between which the network fails. Each starts one
// party with the other behind a proxy, and what else the system needs.
var partitionPairs = []struct {
	name string
	says string // in the trouble of the party
	// idle: orders are not applied while the network fails.
	idle  bool
	start func(*system) []party
}{
	{"producer and database", "database", false, func(s *system) []party {
		s.startNotifications()
		s.startRelay(s.amqpURL, nil, nil) // of another process
		return []party{s.producerBehind(s.proxyTo(s.ordersURL))}
	}},
	{"relay and database", "database", true, func(s *system) []party {
		s.startNotifications()
		return []party{s.relayBehind(s.proxyTo(s.ordersURL), nil)}
	}},
	{"relay and broker", "broker", true, func(s *system) []party {
		s.startNotifications()
		return []party{s.relayBehind(nil, s.proxyTo(s.amqpURL))}
	}},
	{"consumer and broker", "broker", true, func(s *system) []party {
		s.startRelay(s.amqpURL, nil, nil)
		return []party{s.consumerBehind(nil, s.proxyTo(s.amqpURL))}
	}},
	{"consumer and database", "database", true, func(s *system) []party {
		s.startRelay(s.amqpURL, nil, nil)
		return []party{s.consumerBehind(s.proxyTo(s.notificationsURL), nil)}
	}},
	{"two relays of which each sees one side", "", true, func(s *system) []party {
		s.startNotifications()
		return []party{s.relayBehind(s.proxyTo(s.ordersURL), nil), s.relayBehind(nil, s.proxyTo(s.amqpURL))}
	}},
}

// F20: the network fails between two parties in the middle of a burst, in every
// way, one after the other. Health says so, what does not need the connection goes
// on, and everything converges when the network is whole. In the end the party
// stops while the network has failed.
func TestF20Partitions(t *testing.T) {
	t.Parallel()
	for _, pair := range partitionPairs {
		t.Run(pair.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, testenv.RabbitMQ(t))
			parties := pair.start(s)
			placed := 0
			for _, kind := range partitionKinds {
				s.place(30) // on their way when the network fails
				for _, p := range parties {
					kind.cut(p.link)
				}
				begun := time.Now()
				for _, p := range parties {
					said := ""
					testenv.Eventually(t, patience, "health to say what fails: "+kind.name, func() bool {
						said = p.trouble()
						return said != "" && strings.Contains(said, pair.says)
					})
					t.Logf("%s: health says %q after %v", kind.name, said, time.Since(begun).Round(time.Millisecond))
				}
				s.place(20)
				placed += 50
				if pair.idle {
					if n := s.count(s.notificationsDB, "notifications"); n > placed-20 {
						t.Errorf("%s: %d orders of %d are applied: the network works", kind.name, n, placed)
					}
				} else {
					s.awaitCount(placed, s.notificationsDB, "notifications")
				}

				begun = time.Now()
				for _, p := range parties {
					p.link.Restore()
				}
				s.awaitCount(placed, s.notificationsDB, "notifications")
				for _, p := range parties {
					testenv.Eventually(t, patience, "recovery from "+kind.name, func() bool { return p.trouble() == "" })
				}
				t.Logf("%s: recovered after %v", kind.name, time.Since(begun).Round(time.Millisecond))
			}
			for _, p := range parties {
				p.link.Freeze()
				stopped := make(chan error, 1)
				go func() { stopped <- p.stop() }()
				select {
				case err := <-stopped:
					t.Logf("stopped while the network fails: %v", err) // what it could not finish
				case <-time.After(patience):
					t.Fatal("does not stop while the network fails")
				}
				p.link.Restore()
			}
			s.place(10)
			s.startRelay(s.amqpURL, nil, nil)
			s.startNotifications()
			s.requireNoAttempts()
			s.requireClean(exceptions{})
		})
	}
}

// proxyTo returns a proxy to a server.
func (s *system) proxyTo(address string) *testenv.Proxy {
	s.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		s.t.Fatal(err)
	}
	return testenv.NewProxy(s.t, u.Host)
}

// through returns the address by a proxy, if there is one. A broker is asked often
// whether it lives.
func (s *system) through(p *testenv.Proxy, address string) string {
	if p != nil {
		address = p.Through(s.t, address)
	}
	if strings.HasPrefix(address, "amqp:") {
		address += "?heartbeat=1"
	}
	return address
}

// stopLimit is how long a party may take to finish what is in flight.
const stopLimit = time.Second

// party runs until it is stopped, at the end of the test at the latest. A stop may
// return an error: what could not be finished.
func (s *system) party(link *testenv.Proxy, run func(context.Context) error, trouble func() string) party {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	s.t.Cleanup(func() { _ = stop() })
	return party{link, stop, trouble}
}

// servedParty is a party that serves HTTP.
func (s *system) servedParty(link *testenv.Proxy, run func(context.Context, net.Listener) error, trouble func(health) string) (party, *service) {
	s.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	svc := &service{url: "http://" + ln.Addr().String()}
	p := s.party(link, func(ctx context.Context) error { return run(ctx, ln) }, func() string { return trouble(svc.health(s.t)) })
	testenv.Eventually(s.t, patience, "the service to be ready", func() bool { return p.trouble() == "" })
	return p, svc
}

func (s *system) producerBehind(database *testenv.Proxy) party {
	s.t.Helper()
	cfg := s.ordersConfig()
	cfg.DatabaseURL, cfg.AMQPURL, cfg.DatabaseTimeout = s.through(database, s.ordersURL), s.through(nil, s.amqpURL), 0
	cfg.Relay.ShutdownTimeout = stopLimit
	cfg.Logger = slog.New(slog.DiscardHandler) // each request that fails
	orders, err := stdlib.NewOrders(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	p, svc := s.servedParty(database, orders.Run, func(h health) string {
		if h.Status == "ready" {
			return ""
		}
		return h.Database.Message
	})
	load := startFailingLoad(s.t, svc.url, 1)
	load.await(1)
	stop := p.stop
	p.stop = func() error {
		answered := load.end()
		err := stop()
		s.requireOrders(answered)
		return err
	}
	return p
}

func (s *system) relayBehind(database, broker *testenv.Proxy) party {
	s.t.Helper()
	p, err := rabbitmq.NewPublisher(rabbitmq.PublisherConfig{
		URL: s.through(broker, s.amqpURL), Exchange: s.exchange, Producer: "orders", Logger: logger(s.t)})
	if err != nil {
		s.t.Fatal(err)
	}
	settings := relayConfig()
	settings.Logger, settings.ShutdownTimeout, settings.LeaseTTL = logger(s.t), stopLimit, 3*leaseTTL
	ob, err := outbox.New(openDB(s.t, s.through(database, s.ordersURL)))
	if err != nil {
		s.t.Fatal(err)
	}
	relay, err := outbox.NewRelay(ob, p, settings)
	if err != nil {
		s.t.Fatal(err)
	}
	run := func(ctx context.Context) error { return errors.Join(relay.Run(ctx), p.Close()) }
	return s.party(cmp.Or(database, broker), run, func() string {
		if h := relay.Health(); h.State != outbox.RelayRunning && h.LastError != nil {
			return shown.Text(h.LastError) // as to anyone
		}
		return ""
	})
}

func (s *system) consumerBehind(database, broker *testenv.Proxy) party {
	s.t.Helper()
	cfg := s.notificationsConfig()
	cfg.DatabaseURL, cfg.AMQPURL = s.through(database, s.notificationsURL), s.through(broker, s.amqpURL)
	cfg.Consumer.HandlerTimeout, cfg.Consumer.ShutdownTimeout = 2*time.Second, stopLimit
	notifications, err := stdlib.NewNotifications(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	p, _ := s.servedParty(cmp.Or(database, broker), notifications.Run, func(h health) string {
		if h.Consumer.State == "running" {
			return ""
		}
		return cmp.Or(h.Consumer.LastError, h.Consumer.State)
	})
	return p
}
