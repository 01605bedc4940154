package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

// RelayState is how a relay is doing.
type RelayState string

// The states of a relay.
const (
	// RelayStarting: it has not reached the database yet, or Run was not called.
	RelayStarting RelayState = "starting"
	// RelayRunning: database and, as far as was tried, broker answer.
	RelayRunning RelayState = "running"
	// RelayDegraded: the broker or the database does not answer, or another
	// fault keeps messages from going out. It goes on trying.
	RelayDegraded RelayState = "degraded"
	// RelayStopped: Run has returned.
	RelayStopped RelayState = "stopped"
)

// Health says how a relay is doing. Counters start at zero with NewRelay and
// count what this relay did.
type Health struct {
	State RelayState
	// Since is when the state began, by this process's clock.
	Since time.Time
	// LastError is why the relay is degraded; nil in every other state.
	LastError error
	// Leases is how many of the 64 buckets it holds.
	Leases int
	// Published messages: confirmed by the broker and marked so.
	Published int64
	// Failed attempts: refused by the broker and to be tried again.
	Failed int64
	// Dead messages: given up by this relay.
	Dead int64
	// Fenced verdicts: not stored, because the bucket's lease had gone to
	// another relay meanwhile or the message had been discarded.
	Fenced int64
	// Suspended are topics on which the broker gives no verdicts while it does on
	// others, as one whose queue has lost its majority. The longest suspended
	// come first.
	Suspended []SuspendedTopic
	// Unserved is how many buckets no relay serves, as of the last look: their
	// messages wait.
	Unserved int
	// Resets is how often the relay found that the database had gone back, or was
	// another one, and read every bucket from its beginning.
	Resets int64
	// OldestPending is the age, by the database's clock, of the oldest message in
	// the outbox that should be out by now, in whosever bucket, as of MeasuredAt;
	// 0: there was none.
	OldestPending time.Duration
	// MeasuredAt is when OldestPending was last measured, by this process's
	// clock: every few seconds.
	MeasuredAt time.Time
}

// SuspendedTopic is a topic whose messages wait, without an attempt being
// counted, until the broker gives verdicts on them again. The relay tries a few
// now and then.
type SuspendedTopic struct {
	Topic   string
	Since   time.Time // by this process's clock
	Waiting int       // messages found so far: its own, and later ones of their keys
	Reason  string    // what was missing when it was last tried
}

// monitor keeps the health of a relay and logs what changes. Parts of the
// relay report trouble under a name of their own and take it back when it is
// over; any one makes the relay degraded, and only the first and the last are
// logged.
type monitor struct {
	log *slog.Logger

	mu       sync.Mutex
	health   Health
	troubles map[string]error
	refusals refusals
}

// refusals gathers messages that the broker refused, for a log line now and then.
type refusals struct {
	count  int
	logged time.Time
}

// refusalLogInterval keeps a broker that refuses everything from filling the log.
const refusalLogInterval = 10 * time.Second

func newMonitor(log *slog.Logger) *monitor {
	return &monitor{
		log:      log,
		health:   Health{State: RelayStarting, Since: time.Now()},
		troubles: make(map[string]error),
	}
}

func (m *monitor) read() Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.health
}

// enter moves to state; the caller holds m.mu.
func (m *monitor) enter(state RelayState) {
	if m.health.State != state {
		m.health.State, m.health.Since = state, time.Now()
	}
}

// started says that the database has answered for the first time.
func (m *monitor) started() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.health.State == RelayStarting {
		m.enter(RelayRunning)
	}
}

func (m *monitor) restarted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.troubles)
	m.health.LastError = nil
	m.enter(RelayStarting)
}

func (m *monitor) stopped() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.LastError = nil
	m.enter(RelayStopped)
}

// trouble reports that part cannot do its work, or with a nil err that it can
// (again).
func (m *monitor) trouble(ctx context.Context, part string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.troubles)
	if err != nil {
		m.troubles[part] = err
		m.health.LastError = m.worst()
		m.enter(RelayDegraded)
		if before == 0 {
			m.log.WarnContext(ctx, "relay is degraded; trying on", "part", part, "error", err)
		}
		return
	}
	delete(m.troubles, part)
	switch after := len(m.troubles); {
	case after == before:
	case after > 0:
		m.health.LastError = m.worst()
	default:
		m.log.InfoContext(ctx, "relay has recovered", "part", part, "degraded_for", time.Since(m.health.Since))
		m.health.LastError = nil
		m.enter(RelayRunning)
	}
}

// parts are those that say most about what is the matter, first.
var parts = []string{partLeases, partStandby, partBroker, partTopics}

// worst returns the trouble that says most; the caller holds m.mu.
func (m *monitor) worst() error {
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(m.troubles)), func(part string) bool { return slices.Contains(parts, part) })
	for _, part := range slices.Concat(parts, rest) {
		if err := m.troubles[part]; err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// cause returns the trouble of a part; nil: it has none.
func (m *monitor) cause(part string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.troubles[part]
}

// stored counts what a write-back stored, and what it was refused.
func (m *monitor) stored(ctx context.Context, s storeCounts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.Published += int64(s.published)
	m.health.Failed += int64(s.failed)
	m.health.Dead += int64(s.dead)
	m.health.Fenced += int64(s.fenced)
	if s.fenced > 0 {
		m.log.WarnContext(ctx, "verdicts were not stored: the leases have gone to another relay, or the messages were discarded", "messages", s.fenced)
	}
	if s.dead > 0 {
		m.log.ErrorContext(ctx, "messages are dead", "messages", s.dead,
			"example", s.deadExample.ID, "topic", s.deadExample.Topic, "error", s.deadExample.err)
	}
	m.refusals.count += s.failed
	if s.failed > 0 && time.Since(m.refusals.logged) >= refusalLogInterval {
		m.log.WarnContext(ctx, "broker refuses messages; they are tried again", "messages", m.refusals.count,
			"example", s.failedExample.ID, "topic", s.failedExample.Topic, "error", s.failedExample.err)
		m.refusals = refusals{logged: time.Now()}
	}
}

func (m *monitor) holds(leases int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.Leases = leases
}

func (m *monitor) unserved(buckets int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.Unserved = buckets
}

func (m *monitor) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.Resets++
}

func (m *monitor) oldest(age time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.OldestPending, m.health.MeasuredAt = age, time.Now()
}
