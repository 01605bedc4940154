package chaos

import (
	"context"
	"errors"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
)

// brokerFaults are those that the embedded broker commits itself.
var brokerFaults = map[Kind]devbroker.FaultKind{
	BrokerStop: devbroker.FaultDown, BrokerBlock: devbroker.FaultBlockPublishers,
	BrokerDropConfirms: devbroker.FaultDropConfirms, BrokerWithholdConfirms: devbroker.FaultWithholdConfirms,
	BrokerDelayConfirms: devbroker.FaultDelayConfirms, BrokerDuplicate: devbroker.FaultDuplicateDeliveries,
	BrokerDelay: devbroker.FaultDelayDeliveries, BrokerRefuse: devbroker.FaultRefusePublishes, BrokerStall: devbroker.FaultStallQueues,
}

func (s *system) beginBroker(ctx context.Context, f Fault) (Healing, error) {
	switch f.Kind {
	case BrokerDeleteQueue:
		return s.deleteQueue(ctx)
	case BrokerDeleteExchange:
		return s.deleteExchange(ctx)
	case BrokerCredentials, BrokerRevoke:
		return s.lockOut(ctx, f.Kind)
	}
	if servers := s.cfg.Servers; servers != nil {
		return s.command(ctx, f.Kind, *servers)
	}
	switch f.Kind {
	case BrokerKill:
		m := s.members[brokerName]
		m.kill()
		return func(ctx context.Context) error {
			if err := m.start(ctx); err != nil {
				return err
			}
			return s.restoreUser(ctx) // it is not on disk
		}, nil
	case BrokerRestart:
		return nil, s.faults().Restart(ctx)
	}
	fault, known := BrokerFault(f, s.queue)
	if !known {
		return nil, errors.New("there is no such fault")
	}
	return func(ctx context.Context) error { return s.faults().Clear(ctx, fault.Kind) }, s.faults().Inject(ctx, control.Fault(fault))
}

// command begins a fault by a command of the user's.
func (s *system) command(ctx context.Context, k Kind, servers Servers) (Healing, error) {
	begin, end := "", ""
	switch k {
	case BrokerStop, BrokerRestart:
		begin, end = servers.BrokerStop, servers.BrokerStart
	case BrokerKill:
		begin, end = servers.BrokerKill, servers.BrokerStart
	case BrokerBlock:
		begin, end = servers.BrokerBlock, servers.BrokerUnblock
	case DatabaseStop:
		begin, end = servers.DatabaseStop, servers.DatabaseStart
	case DatabaseKill:
		begin, end = servers.DatabaseKill, servers.DatabaseStart
	}
	if begin == "" || end == "" {
		return nil, errors.New("there is no command for it")
	}
	heal := func(ctx context.Context) error { return s.shell(ctx, end) }
	err := s.shell(ctx, begin)
	if k == BrokerRestart && err == nil {
		return nil, heal(ctx)
	}
	return heal, err
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
