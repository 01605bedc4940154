package chaos

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/inbox/rabbitmq"
	"github.com/asimalizada/pulse-events/internal/netfault"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/process"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// system is what is under fire: its servers, its processes, and the links between
// them.
type system struct {
	cfg             Config
	orders, effects *store
	exchange, queue string
	members         map[string]*member
	links           map[string]*netfault.Proxy // such as relay-1>broker

	mu         sync.Mutex
	brokerURL  string         // of the broker itself, for the observer
	control    control.Client // of the embedded broker
	serviceURL string
	crashes    []string
}

const (
	serviceName = "service"
	brokerName  = "broker"
	databaseOf  = "database"
)

// numbered returns the names of n members.
func numbered(name string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint(name, "-", i+1)
	}
	return names
}

// Targets returns what faults can happen to, by group of kinds.
func (c Config) Targets() map[string][]string {
	relays, consumers := numbered("relay", c.Relays), numbered("consumer", c.Consumers)
	t := map[string][]string{
		"service": {serviceName}, "relay": relays, "consumer": consumers, "broker": {brokerName}, "database": {databaseOf + "-orders", databaseOf + "-effects"},
	}
	for _, name := range slices.Concat(relays, consumers) {
		t["link"] = append(t["link"], name+">"+brokerName)
	}
	if c.Servers != nil {
		for _, name := range slices.Concat([]string{serviceName}, relays, consumers) {
			t["link"] = append(t["link"], name+">"+databaseOf)
		}
		t["database"] = []string{databaseOf}
	}
	return t
}

// Known returns the kinds of faults that can be injected into the configured
// servers.
func (c Config) Known() []Kind {
	var impossible []Kind
	if c.Servers == nil {
		impossible = []Kind{DatabaseStop, DatabaseTerminate}
	} else {
		impossible = []Kind{DatabaseLock, BrokerKill, BrokerBlock, BrokerDropConfirms, BrokerWithholdConfirms, BrokerDelayConfirms,
			BrokerDuplicate, BrokerDelay, BrokerRefuse, BrokerStall, BrokerRestart}
		if c.Servers.BrokerStop == "" || c.Servers.BrokerStart == "" {
			impossible = append(impossible, BrokerStop)
		}
		if c.Servers.DatabaseStop == "" || c.Servers.DatabaseStart == "" {
			impossible = append(impossible, DatabaseStop)
		}
	}
	return slices.DeleteFunc(Kinds(), func(k Kind) bool { return slices.Contains(impossible, k) })
}

// newSystem makes tables, queues and processes, and returns when all of them work
// together. The caller closes it.
func newSystem(ctx context.Context, c Config) (_ *system, err error) {
	name := "pulse_chaos_" + strings.ToLower(rand.Text()[:10])
	s := &system{cfg: c, exchange: name, queue: name + ".orders", members: map[string]*member{}, links: map[string]*netfault.Proxy{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(ctx))
		}
	}()
	if c.Servers == nil {
		if s.orders, s.effects, err = embeddedStores(ctx, c.Dir); err != nil {
			return nil, err
		}
		if err := s.startBroker(ctx); err != nil {
			return nil, err
		}
	} else {
		s.brokerURL = c.Servers.Broker
		if s.orders, err = openSchema(ctx, c.Servers.OrdersDB, name+"_orders", ordersTables); err != nil {
			return nil, err
		}
		if s.effects, err = openSchema(ctx, c.Servers.EffectsDB, name+"_effects", effectsTables); err != nil {
			return nil, err
		}
	}
	if err := s.declare(); err != nil {
		return nil, fail.CannotReach("broker", err)
	}
	if err := s.startMembers(ctx); err != nil {
		return nil, err
	}
	return s, s.awaitConsumer(ctx)
}

// declare creates what the observer needs at the broker.
func (s *system) declare() error {
	conn, err := dial(s.broker())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	return DeclareTap(ch, s.exchange, s.tapQueue())
}

func (s *system) tapQueue() string { return s.exchange + ".tap" }

func (s *system) startBroker(ctx context.Context) error {
	m, err := s.member(brokerName, process.Config{Role: process.Broker, DataDir: filepath.Join(s.cfg.Dir, "broker")})
	if err != nil {
		return err
	}
	m.started = func(r process.Ready) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.brokerURL, s.control = r.URL, control.Client{URL: r.ControlURL, Token: r.ControlToken}
		if u, err := url.Parse(r.URL); err == nil {
			for name, link := range s.links {
				if strings.HasSuffix(name, ">"+brokerName) {
					link.Retarget(u.Host)
				}
			}
		}
	}
	return m.start(ctx)
}

func (s *system) startMembers(ctx context.Context) error {
	base := process.Config{Exchange: s.exchange, Queue: s.queue, Session: s.exchange}
	for _, group := range []struct {
		role  process.Role
		names []string
		store *store
	}{
		{process.Service, []string{serviceName}, s.orders},
		{process.Relay, numbered("relay", s.cfg.Relays), s.orders},
		{process.Consumer, numbered("consumer", s.cfg.Consumers), s.effects},
	} {
		for _, name := range group.names {
			c, err := base, error(nil)
			c.Role, c.Database = group.role, group.store.url
			if s.cfg.Servers != nil {
				if c.Database, err = s.link(name+">"+databaseOf, c.Database); err != nil {
					return err
				}
			}
			if group.role != process.Service {
				if c.Broker, err = s.link(name+">"+brokerName, s.broker()); err != nil {
					return err
				}
			}
			m, err := s.member(name, c)
			if err != nil {
				return err
			}
			if group.role == process.Service {
				m.started = func(r process.Ready) {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.serviceURL = r.URL
				}
			}
			if err := m.start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// defaultPorts are those of URLs that name none.
var defaultPorts = map[string]string{"postgres": "5432", "postgresql": "5432", "amqp": "5672"}

// Check reports servers that a run cannot use: there is one proxy before each, which
// has no certificate.
func (s Servers) Check() error {
	var problems []error
	for _, server := range []struct{ what, url string }{{"outbox database", s.OrdersDB}, {"inbox database", s.EffectsDB}, {"broker", s.Broker}} {
		u, err := url.Parse(server.url)
		switch {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: the URL cannot be parsed", server.what))
		case defaultPorts[u.Scheme] == "":
			problems = append(problems, fmt.Errorf("%s: %q is no scheme for this; use postgres:// and amqp://", server.what, u.Scheme))
		case strings.Contains(u.Host, ","):
			problems = append(problems, fmt.Errorf("%s: give one address, not several", server.what))
		}
	}
	return errors.Join(problems...)
}

// link returns the URL of a server with a proxy of its own before it.
func (s *system) link(name, serverURL string) (string, error) {
	u, err := url.Parse(serverURL)
	if err != nil {
		return "", errors.New("the URL cannot be parsed") // it may hold a password
	}
	p, err := netfault.Listen(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), defaultPorts[u.Scheme])))
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	s.links[name] = p
	s.mu.Unlock()
	return p.URL(serverURL)
}

func (s *system) member(name string, c process.Config) (*member, error) {
	m, err := newMember(name, c, s.cfg.Dir, s.cfg.Process)
	if err != nil {
		return nil, err
	}
	m.crashed = func(name, how string) {
		s.mu.Lock()
		s.crashes = append(s.crashes, fmt.Sprintf("%s ended by itself: %s; see %s", name, how, m.log.Name()))
		s.mu.Unlock()
	}
	s.members[name] = m
	return m, nil
}

// waitFor calls done every so often until it returns true, and returns why it
// cannot.
func waitFor(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitConsumer waits until the queues exist and are consumed. Until then the tap
// alone would take messages.
func (s *system) awaitConsumer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("the consumers have not started within %v; see %s", startLimit, s.cfg.Dir))
	defer cancel()
	return waitFor(ctx, func() (bool, error) {
		if crashes := s.crashed(); len(crashes) > 0 {
			return false, errors.New(crashes[0])
		}
		d, err := s.depths(ctx)
		return err == nil && len(d.Missing) == 0 && d.Consumers >= s.cfg.Consumers, nil
	})
}

func (s *system) broker() string         { s.mu.Lock(); defer s.mu.Unlock(); return s.brokerURL }
func (s *system) service() string        { s.mu.Lock(); defer s.mu.Unlock(); return s.serviceURL }
func (s *system) crashed() []string      { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.crashes) }
func (s *system) faults() control.Client { s.mu.Lock(); defer s.mu.Unlock(); return s.control }

func (s *system) source() rabbitmq.SourceConfig {
	return process.Config{Broker: s.broker(), Exchange: s.exchange, Queue: s.queue}.SourceConfig(nil)
}

func (s *system) inspect(ctx context.Context, look func(*rabbitmq.Inspector) error) error {
	i, err := rabbitmq.OpenInspector(ctx, s.source())
	if err != nil {
		return err
	}
	defer i.Close()
	return look(i)
}

func (s *system) depths(ctx context.Context) (d rabbitmq.Depths, err error) {
	err = s.inspect(ctx, func(i *rabbitmq.Inspector) (err error) {
		d, err = i.Depths(ctx)
		return err
	})
	return d, err
}

// close ends all processes, and removes what the run has made on the user's
// servers.
func (s *system) close(ctx context.Context) error {
	for name, m := range s.members {
		if name != brokerName {
			m.close()
		}
	}
	var errs []error
	if s.cfg.Servers != nil && s.brokerURL != "" {
		errs = append(errs, s.deleteQueues())
	}
	for _, link := range s.links {
		errs = append(errs, link.Close())
	}
	if m := s.members[brokerName]; m != nil {
		m.close()
	}
	for _, store := range []*store{s.orders, s.effects} {
		if store != nil {
			errs = append(errs, store.remove(ctx))
		}
	}
	return errors.Join(errs...)
}

func (s *system) deleteQueues() error {
	conn, err := dial(s.broker())
	if err != nil {
		return fmt.Errorf("exchange and queues %s are left behind: %w", s.exchange, err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	source := s.source()
	names := rabbitmq.QueueNames(s.queue, source.RetryDelays)
	queues := []string{s.tapQueue(), names.Queue, names.DeadLetters}
	for _, retry := range names.Retry {
		queues = append(queues, retry.Queue)
	}
	var errs []error
	for _, queue := range queues { // deleting what does not exist is no error
		_, err := ch.QueueDelete(queue, false, false, false)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, ch.ExchangeDelete(s.exchange, false, false))...)
}

// shell runs a command of the user's. Its output goes to a file: a server that it
// starts may keep its streams open.
func (s *system) shell(ctx context.Context, command string) error {
	log, err := os.OpenFile(filepath.Join(s.cfg.Dir, commandsLog), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%q: %w; see %s", command, err, log.Name())
	}
	return nil
}

// commandsLog has the output of the user's commands.
const commandsLog = "commands.log"
