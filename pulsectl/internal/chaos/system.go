package chaos

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
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
	user            account // of the processes at the broker; none: that of the URL
	members         map[string]*member
	links           map[string]*netfault.Proxy // such as relay-1>broker

	mu         sync.Mutex
	brokerURL  string         // of the broker itself, for the observer
	management string         // URL of its management API; empty: none
	control    control.Client // of the embedded broker
	restored   []string       // events that deleted queues held
	refusal    period         // the last one in which the database refused the run's role
	serviceURL string
	crashes    []string
}

// checkedFor is how long after its start a relay may end because of what it found
// then.
const checkedFor = 30 * time.Second

// period is from one time to another; a zero until: it lasts.
type period struct{ from, until time.Time }

func (p period) during(from, until time.Time) bool {
	return !p.from.IsZero() && until.After(p.from) && (p.until.IsZero() || from.Before(p.until))
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
		s.brokerURL, s.management = c.Servers.Broker, c.Servers.Management
		clock := slices.ContainsFunc(c.Faults, func(f Fault) bool { return f.Kind == DatabaseClock })
		make := func(databaseURL, suffix, tables string) (*store, error) {
			return schema{databaseURL, name + suffix, tables, c.Servers.roles, clock}.open(ctx)
		}
		if s.orders, err = make(c.Servers.OrdersDB, "_orders", ordersTables); err != nil {
			return nil, err
		}
		if s.effects, err = make(c.Servers.EffectsDB, "_effects", effectsTables); err != nil {
			return nil, err
		}
	}
	if err := s.makeUser(ctx); err != nil {
		return nil, err
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
		s.brokerURL, s.management, s.control = r.URL, r.ManagementURL, control.Client{URL: r.ControlURL, Token: r.ControlToken}
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
			c.Role, c.Database = group.role, group.store.memberURL
			if s.cfg.Servers != nil {
				if c.Database, err = s.link(name+">"+databaseOf, c.Database); err != nil {
					return err
				}
			}
			if group.role != process.Service {
				if c.Broker, err = s.link(name+">"+brokerName, s.user.at(s.broker())); err != nil {
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
	m.crashed = func(how string, lived time.Duration) (again bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		// A relay that starts while the database refuses it ends, and a supervisor starts
		// it again.
		if c.Role == process.Relay && lived < checkedFor && s.refusal.during(time.Now().Add(-lived), time.Now()) {
			return true
		}
		s.crashes = append(s.crashes, fmt.Sprintf("%s ended by itself: %s; see %s", name, how, m.log.Name()))
		return false
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
		errs = append(errs, s.deleteQueues(), s.deleteUser(ctx))
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
