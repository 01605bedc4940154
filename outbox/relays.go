package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
)

// DefaultConnections is how many connections Relays use at once unless
// RelaysConfig.Connections says otherwise.
const DefaultConnections = 8

// RelaysConfig holds the settings of Relays. All are optional.
type RelaysConfig struct {
	// Relay has the settings of each relay. Lanes defaults to 1 here. The logger gets
	// the name of the outbox as attribute "outbox".
	Relay RelayConfig
	// Connections limits how many database connections the relays use at the same
	// time, over all outboxes. A statement that runs for longer than a second is no
	// longer counted, so that a database that does not answer cannot block the
	// others. Defaults to DefaultConnections.
	Connections int
}

// Relays runs a relay for each of several outboxes in one process: of tenants,
// databases or schemas. They share a publisher and a limit on connections; a failure
// of one database does not affect the other outboxes.
type Relays struct {
	relays map[string]*Relay
	names  []string // in order
}

// NewRelays returns relays that publish the messages of outboxes with p, which they
// do not close. The keys of outboxes name them in logs, errors and Health. It does
// not use the databases or the broker yet. The error lists all problems of cfg and
// outboxes.
func NewRelays(outboxes map[string]*Outbox, p Publisher, cfg RelaysConfig) (*Relays, error) {
	var problems []error
	if len(outboxes) == 0 {
		problems = append(problems, errors.New("there is no outbox"))
	}
	if cfg.Connections < 0 {
		problems = append(problems, fmt.Errorf("Connections: %d; must be positive, or 0 for the default", cfg.Connections))
	}
	cfg.Relay.Lanes = cmp.Or(cfg.Relay.Lanes, 1)
	log := cmp.Or(cfg.Relay.Logger, slog.Default())
	rs := &Relays{relays: make(map[string]*Relay, len(outboxes)), names: slices.Sorted(maps.Keys(outboxes))}
	gates := newGates(len(outboxes), max(1, cmp.Or(cfg.Connections, DefaultConnections)), slotTime)
	for i, name := range rs.names {
		each := cfg.Relay
		each.Logger, each.name = log.With("outbox", name), name
		r, err := NewRelay(outboxes[name], p, each)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", name, err))
			continue
		}
		r.gate = gates[i]
		rs.relays[name] = r
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("outbox: relays: %w", err)
	}
	return rs, nil
}

// Run runs all relays until ctx ends, each as Relay.Run does, and returns when all
// have returned. The error joins theirs, each with the name of its outbox. Run
// may be called again after it has returned.
func (rs *Relays) Run(ctx context.Context) error {
	_, err := each(rs, func(r *Relay) (struct{}, error) { return struct{}{}, r.Run(ctx) })
	return err
}

// Drain drains all outboxes at once, as Relay.Drain does, and returns the result
// for each, by name. The error joins theirs, each with the name of its outbox.
func (rs *Relays) Drain(ctx context.Context) (map[string]Drained, error) {
	return each(rs, func(r *Relay) (Drained, error) { return r.Drain(ctx) })
}

// each does something with all relays at once.
func each[T any](rs *Relays, do func(*Relay) (T, error)) (map[string]T, error) {
	results, errs := make([]T, len(rs.names)), make([]error, len(rs.names))
	var wg sync.WaitGroup
	for i, name := range rs.names {
		wg.Go(func() {
			var err error
			if results[i], err = do(rs.relays[name]); err != nil {
				errs[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	wg.Wait()
	byName := make(map[string]T, len(rs.names))
	for i, name := range rs.names {
		byName[name] = results[i]
	}
	return byName, errors.Join(errs...)
}

// Wake calls Relay.Wake for the outbox of that name. An unknown name is ignored.
func (rs *Relays) Wake(name string) {
	if r := rs.relays[name]; r != nil {
		r.Wake()
	}
}

// Health returns the health of each relay, by the name of its outbox.
func (rs *Relays) Health() map[string]Health {
	all := make(map[string]Health, len(rs.relays))
	for name, r := range rs.relays {
		all[name] = r.Health()
	}
	return all
}

// Total returns the health of all relays together, for HealthConfig.Relay: the worst
// state, with the name of its outbox in LastError, the sums of all counts, and the
// age of the oldest message.
func (rs *Relays) Total() Health {
	var total Health
	for _, name := range rs.names {
		h := rs.relays[name].Health()
		if h.LastError != nil {
			h.LastError = fmt.Errorf("%s: %w", name, h.LastError)
		}
		if total.State == "" || badness(h.State) > badness(total.State) {
			total.State, total.Since, total.LastError = h.State, h.Since, h.LastError
		}
		total.Leases += h.Leases
		total.Published += h.Published
		total.Failed += h.Failed
		total.Dead += h.Dead
		total.Fenced += h.Fenced
		total.Unserved += h.Unserved
		total.Resets += h.Resets
		for _, topic := range h.Suspended {
			topic.Reason = name + ": " + topic.Reason
			total.Suspended = append(total.Suspended, topic)
		}
		for _, topic := range h.Paused {
			topic.Reason = name + ": " + topic.Reason
			total.Paused = append(total.Paused, topic)
		}
		total.OldestPending = max(total.OldestPending, h.OldestPending)
		if total.MeasuredAt.IsZero() || !h.MeasuredAt.IsZero() && h.MeasuredAt.Before(total.MeasuredAt) {
			total.MeasuredAt = h.MeasuredAt
		}
	}
	slices.SortStableFunc(total.Suspended, func(a, b SuspendedTopic) int { return a.Since.Compare(b.Since) })
	return total
}

// badness orders states from well to ill.
func badness(s RelayState) int {
	return slices.Index([]RelayState{RelayRunning, RelayStarting, RelayStopped, RelayDegraded}, s)
}
