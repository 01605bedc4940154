package chaostest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/internal/netfault"
	"github.com/asimalizada/pulse-events/outbox"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos"
	"github.com/asimalizada/pulse-events/pulsectl/internal/chaos/check"
)

// serviceStop stops a service in order, and starts it again.
const serviceStop chaos.Kind = "service-stop"

// startLimit bounds the wait until the queue is consumed.
const startLimit = 30 * time.Second

// run is one run of a Config.
type run struct {
	cfg      Config
	broker   *devbroker.Broker
	tap      *chaos.Tap
	links    map[string]*netfault.Proxy // by service
	services map[string]*service
	faults   []chaos.Fault

	mu      sync.Mutex
	answers []check.Answer
}

// service is a Service that is started again and again.
type service struct {
	name string
	run  Service
	url  string

	cancel context.CancelFunc
	ended  chan error
}

func (s *service) start(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	s.ended = ended
	go func() {
		err := s.run(ctx, s.url)
		if err == nil && ctx.Err() == nil {
			err = errors.New("it returned before its context ended")
		}
		ended <- err
	}()
}

// stop ends the service, and waits for it.
func (s *service) stop() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	if err := <-s.ended; err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("service %s: %w", s.name, err)
	}
	return nil
}

func start(t testing.TB, c Config) (*run, error) {
	r := &run{cfg: c, broker: devbroker.NewTest(t), links: map[string]*netfault.Proxy{}, services: map[string]*service{}}
	for name, runs := range c.Services {
		link, err := netfault.Listen(r.broker.Addr())
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = link.Close() })
		url, err := link.URL(r.broker.URL())
		if err != nil {
			return nil, err
		}
		r.links[name], r.services[name] = link, &service{name: name, run: runs, url: url}
	}
	r.faults = r.plan().Schedule()
	for _, s := range r.services {
		s.start(t.Context())
	}
	t.Cleanup(func() {
		for _, s := range r.services {
			_ = s.stop() // judged before, if it got that far
		}
	})
	// Until the queue is consumed the tap would take messages that have no queue.
	err := r.await(t.Context(), startLimit, "queue "+c.Queue+" to be consumed", func(context.Context) (string, error) {
		for _, q := range r.broker.Queues() {
			if q.Name == c.Queue && q.Consumers > 0 {
				return "", nil
			}
		}
		return "it is not", nil
	})
	if err != nil {
		return nil, err
	}
	return r, r.startTap(t)
}

func (r *run) startTap(t testing.TB) error {
	queue := "chaostest.tap"
	conn, err := amqp.Dial(r.broker.URL())
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	if err := chaos.DeclareTap(ch, r.cfg.Exchange, queue); err != nil {
		return err
	}
	r.tap = chaos.NewTap(queue, r.broker.URL)
	ctx, cancel := context.WithCancel(context.Background())
	var tapping sync.WaitGroup
	tapping.Go(func() { r.tap.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		tapping.Wait()
	})
	return nil
}

func (r *run) plan() chaos.Plan {
	names := slices.Sorted(maps.Keys(r.cfg.Services))
	return chaos.Plan{Seed: r.cfg.Seed, Duration: r.cfg.Duration, Kinds: []chaos.Kind{
		serviceStop, chaos.BrokerStop, chaos.BrokerBlock, chaos.BrokerDropConfirms, chaos.BrokerWithholdConfirms, chaos.BrokerDelayConfirms,
		chaos.BrokerDuplicate, chaos.BrokerDelay, chaos.BrokerRefuse, chaos.BrokerStall,
		chaos.LinkCut, chaos.LinkPartition, chaos.LinkLatency, chaos.LinkStall, chaos.LinkOneWay, chaos.LinkLoss,
	}, Targets: map[string][]string{"service": names, "link": links(names), "broker": {"broker"}}}
}

// links returns the names of the services' links.
func links(services []string) (names []string) {
	for _, s := range services {
		names = append(names, s+">broker")
	}
	return names
}

// begin begins a fault. The broker is in memory: it goes, and comes with what it had.
func (r *run) begin(ctx context.Context, f chaos.Fault) (chaos.Healing, error) {
	switch {
	case f.Kind == serviceStop:
		s := r.services[f.Target]
		return func(context.Context) error { s.start(ctx); return nil }, s.stop()
	case strings.HasPrefix(string(f.Kind), "link-"):
		return chaos.BeginLink(r.links[strings.TrimSuffix(f.Target, ">broker")], f)
	}
	fault, _ := chaos.BrokerFault(f, r.cfg.Queue)
	return func(context.Context) error { return r.broker.Clear(fault.Kind) }, r.broker.Inject(fault)
}

// attack runs load and faults, waits until all is handled, and stops the services.
func (r *run) attack(t testing.TB) error {
	began := time.Now()
	var placing sync.WaitGroup
	placing.Go(func() { r.place(t.Context(), began) })
	injected := chaos.Inject(t.Context(), began, r.faults, r.begin, func(e chaos.Event) { t.Logf("%6.2fs  %s", e.At.Seconds(), e.Text) })
	placing.Wait()
	var errs []error
	for _, f := range injected {
		if f.Error != "" {
			errs = append(errs, fmt.Errorf("%s: %s", f.Fault, f.Error))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := r.await(t.Context(), r.cfg.Settle, "all events to be handled", r.left)
	for _, s := range r.services {
		err = errors.Join(err, s.stop())
	}
	return err
}

// place calls Place at the rate, for the duration.
func (r *run) place(ctx context.Context, began time.Time) {
	tick := time.NewTicker(time.Second / time.Duration(r.cfg.Rate))
	defer tick.Stop()
	var placing sync.WaitGroup
	defer placing.Wait()
	for n := 0; time.Since(began) < r.cfg.Duration; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		placing.Go(func() {
			a := check.Answer{At: time.Now(), Outcome: check.Unknown}
			if event, err := r.cfg.Place(ctx, n); err == nil {
				a.Order, a.Outcome = event, check.Accepted
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.answers = append(r.answers, a)
		})
	}
}

// await calls left until it returns nothing.
func (r *run) await(ctx context.Context, limit time.Duration, what string, left func(context.Context) (string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := left(ctx)
		if waiting == "" && err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waited %v for %s: %s", limit, what, waiting), err)
		}
	}
}

// left says what is left to do.
func (r *run) left(ctx context.Context) (string, error) {
	rows, err := r.rows(ctx)
	if err != nil {
		return "", err
	}
	effects, err := r.cfg.Effects(ctx)
	if err != nil {
		return "", err
	}
	pending, unapplied := 0, 0
	for _, row := range rows {
		switch {
		case row.Status == outbox.Pending:
			pending++
		case row.Status == outbox.Published && r.applies(row) && effects[row.ID.String()] == 0:
			unapplied++
		}
	}
	queued := ""
	for _, q := range r.broker.Queues() {
		switch n := q.Ready + q.Unacked; {
		case q.Name == r.cfg.Queue+".dlq":
			unapplied -= q.Ready
		case n > 0:
			queued = fmt.Sprintf("queue %s has %d messages", q.Name, n)
		}
	}
	if pending > 0 || unapplied > 0 {
		return fmt.Sprintf("%d events are pending, %d are published and not applied", pending, unapplied), nil
	}
	return queued, nil
}

func (r *run) applies(row outbox.Record) bool { return r.cfg.Topic == "" || row.Topic == r.cfg.Topic }

// rows returns all rows of the outbox.
func (r *run) rows(ctx context.Context) (rows []outbox.Record, err error) {
	q := outbox.ListQuery{OldestFirst: true, Limit: outbox.MaxLimit}
	for {
		page, err := r.cfg.Outbox.List(ctx, q)
		if err != nil {
			return nil, err
		}
		rows = append(rows, page.Records...)
		if q.After = page.Next; q.After == 0 {
			return rows, nil
		}
	}
}
