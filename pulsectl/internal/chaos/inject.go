package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/netfault"
	"github.com/asimalizada/pulse-events/pulsectl/internal/platform"
)

const (
	// healLimit bounds the end of a fault, which is awaited also when the run is
	// interrupted. Servers take their time to start on a busy machine.
	healLimit = 10 * time.Minute
)

// Healing ends a fault.
type Healing func(context.Context) error

// Inject carries out a schedule, and returns when all faults have ended. begin begins
// a fault, and returns what ends it, if anything has to. On a busy machine a fault
// may take longer to end, as when a server has to start: the next one of its target
// begins then, or is skipped if its time is over.
func Inject(ctx context.Context, began time.Time, faults []Fault, begin func(context.Context, Fault) (Healing, error), told func(Event)) []Injected {
	results := make([]Injected, len(faults))
	var running sync.WaitGroup
	faults = slices.SortedStableFunc(slices.Values(faults), func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	before := make(map[string]chan struct{}) // closed at the end of a target's last fault
	var active sync.RWMutex                  // locked by a fault that is alone
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
				if time.Since(began) > f.At+f.For {
					r.Skipped = true
					return
				}
			}
			if f.Kind.alone() {
				active.Lock()
				defer active.Unlock()
			} else {
				active.RLock()
				defer active.RUnlock()
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
		return func(context.Context) error { return m.signal(platform.Resume) }, m.signal(platform.Pause)
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
