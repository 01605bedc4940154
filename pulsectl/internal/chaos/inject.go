package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/asimalizada/pulse-events/internal/netfault"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

const (
	// healLimit bounds the end of a fault, which is awaited also when the run is
	// interrupted.
	healLimit = time.Minute
	// terminateEvery is how often sessions are terminated while that lasts.
	terminateEvery = 300 * time.Millisecond
)

// Healing ends a fault.
type Healing func(context.Context) error

// Inject carries out a schedule, and returns when all faults have ended. begin begins
// a fault, and returns what ends it, if anything has to. On a busy machine a fault
// may take longer to end, as when a process has to start: the next one of its target
// begins then.
func Inject(ctx context.Context, began time.Time, faults []Fault, begin func(context.Context, Fault) (Healing, error), told func(Event)) []Injected {
	results := make([]Injected, len(faults))
	var running sync.WaitGroup
	faults = slices.SortedStableFunc(slices.Values(faults), func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	before := make(map[string]chan struct{}) // closed at the end of a target's last fault
	for i, f := range faults {
		last, ended := before[f.Target], make(chan struct{})
		before[f.Target] = ended
		running.Go(func() {
			defer close(ended)
			r := &results[i]
			r.Fault = f
			timer := time.NewTimer(time.Until(began.Add(f.At)))
			defer timer.Stop()
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			if last != nil {
				<-last
			}
			r.Began = time.Since(began)
			told(Event{At: r.Began, Text: f.String(), Fault: true})
			if err := commit(ctx, f, begin); err != nil {
				r.Error = err.Error()
				told(Event{At: time.Since(began), Text: fmt.Sprintf("%s %s: %v", f.Kind, f.Target, err)})
			}
			r.Ended = time.Since(began)
		})
	}
	running.Wait()
	return results
}

// commit begins a fault, and ends it when its time is over or ctx has ended.
func commit(ctx context.Context, f Fault, begin func(context.Context, Fault) (Healing, error)) error {
	heal, err := begin(ctx, f)
	if err == nil {
		timer := time.NewTimer(f.For)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), healLimit)
	defer cancel()
	if heal != nil {
		err = errors.Join(err, heal(limit))
	}
	return err
}

func (s *system) begin(ctx context.Context, f Fault) (Healing, error) {
	switch f.Kind.group() {
	case "link":
		return BeginLink(s.links[f.Target], f)
	case "broker":
		return s.beginBroker(ctx, f)
	case "database":
		return s.beginDatabase(ctx, f)
	}
	m := s.members[f.Target]
	if m == nil {
		return nil, errors.New("there is no such process")
	}
	switch f.Kind {
	case ServiceKill, RelayKill, ConsumerKill:
		m.kill()
		return m.start, nil
	case ServicePause, RelayPause, ConsumerPause:
		return func(context.Context) error { return m.signal(syscall.SIGCONT) }, m.signal(syscall.SIGSTOP)
	}
	return nil, errors.New("there is no such fault")
}

// BeginLink begins a fault of a link on its proxy.
func BeginLink(p *netfault.Proxy, f Fault) (Healing, error) {
	if p == nil {
		return nil, errors.New("there is no such link")
	}
	direction := netfault.ToServer
	if f.Back {
		direction = netfault.ToClient
	}
	switch f.Kind {
	case LinkCut:
		p.Cut()
	case LinkPartition:
		p.Partition()
	case LinkLatency:
		p.Delay(f.Delay)
	case LinkStall:
		p.Freeze()
	case LinkOneWay:
		p.Stall(direction)
	case LinkLoss:
		p.Lose(direction)
	default:
		return nil, errors.New("there is no such fault")
	}
	return func(context.Context) error { p.Restore(); return nil }, nil
}

// brokerFaults are those that the embedded broker commits itself.
var brokerFaults = map[Kind]devbroker.FaultKind{
	BrokerStop: devbroker.FaultDown, BrokerBlock: devbroker.FaultBlockPublishers,
	BrokerDropConfirms: devbroker.FaultDropConfirms, BrokerWithholdConfirms: devbroker.FaultWithholdConfirms,
	BrokerDelayConfirms: devbroker.FaultDelayConfirms, BrokerDuplicate: devbroker.FaultDuplicateDeliveries,
	BrokerDelay: devbroker.FaultDelayDeliveries, BrokerRefuse: devbroker.FaultRefusePublishes, BrokerStall: devbroker.FaultStallQueues,
}

func (s *system) beginBroker(ctx context.Context, f Fault) (Healing, error) {
	if servers := s.cfg.Servers; servers != nil {
		return func(ctx context.Context) error { return s.shell(ctx, servers.BrokerStart) }, s.shell(ctx, servers.BrokerStop)
	}
	switch f.Kind {
	case BrokerKill:
		m := s.members[brokerName]
		m.kill()
		return m.start, nil
	case BrokerRestart:
		return nil, s.faults().Restart(ctx)
	}
	fault, known := BrokerFault(f, s.queue)
	if !known {
		return nil, errors.New("there is no such fault")
	}
	return func(ctx context.Context) error { return s.faults().Clear(ctx, fault.Kind) }, s.faults().Inject(ctx, control.Fault(fault))
}

// BrokerFault returns the fault of the development broker that f is, if it is one.
// What concerns deliveries and queues is limited to the given queue: the observer's
// must have what was published.
func BrokerFault(f Fault, queue string) (fault devbroker.Fault, known bool) {
	kind, known := brokerFaults[f.Kind]
	fault = devbroker.Fault{Kind: kind, Delay: f.Delay}
	switch f.Kind {
	case BrokerDuplicate, BrokerDelay, BrokerRefuse, BrokerStall:
		fault.Queue = queue
	}
	return fault, known
}

func (s *system) beginDatabase(ctx context.Context, f Fault) (Healing, error) {
	switch f.Kind {
	case DatabaseLock:
		store := s.orders
		if f.Target == databaseOf+"-effects" {
			store = s.effects
		}
		unlock, err := store.lock(context.WithoutCancel(ctx))
		return func(context.Context) error { return unlock() }, err
	case DatabaseStop:
		servers := s.cfg.Servers
		return func(ctx context.Context) error { return s.shell(ctx, servers.DatabaseStart) }, s.shell(ctx, servers.DatabaseStop)
	case DatabaseTerminate:
		return s.terminate(ctx)
	}
	return nil, errors.New("there is no such fault")
}

// terminate ends sessions again and again.
func (s *system) terminate(ctx context.Context) (Healing, error) {
	once := func(ctx context.Context) error {
		return errors.Join(s.orders.terminate(ctx, s.exchange), s.effects.terminate(ctx, s.exchange))
	}
	if err := once(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(terminateEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = once(ctx) // the database may be stopped as well
			case <-ctx.Done():
				return
			}
		}
	})
	return func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	}, nil
}
