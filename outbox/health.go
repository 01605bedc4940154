package outbox

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/asimalizada/pulse-events/internal/health"
)

// RelayState is the state of a relay.
type RelayState string

// The states of a relay.
const (
	// RelayStarting: the database has not answered yet, or Run was not called.
	RelayStarting RelayState = "starting"
	// RelayRunning: the database answers, and so does the broker as far as is known.
	RelayRunning RelayState = "running"
	// RelayDegraded: messages cannot be published, because the broker or the
	// database does not answer or for another reason in LastError. The relay retries.
	RelayDegraded RelayState = "degraded"
	// RelayStopped: Run has returned.
	RelayStopped RelayState = "stopped"
)

// Health is a snapshot of a relay's state and counters. Counters start at zero in
// NewRelay and count what this relay did.
type Health struct {
	State RelayState
	// Since is when the state began, by this process's clock.
	Since time.Time
	// LastError is why the relay is degraded; nil in every other state.
	LastError error
	// Leases is how many of the 64 buckets the relay holds.
	Leases int
	// Published counts messages that the broker confirmed and that were marked
	// published.
	Published int64
	// Failed counts attempts that the broker refused and that will be retried.
	Failed int64
	// Dead counts messages that were marked dead.
	Dead int64
	// Fenced counts outcomes that were not stored, because another relay had taken
	// the lease of the bucket meanwhile or the message had been discarded.
	Fenced int64
	// Suspended lists the topics on which the broker confirms nothing while it does
	// confirm others, for example because their queue has lost its majority. The
	// longest suspended come first.
	Suspended []SuspendedTopic
	// Paused lists what somebody has paused, in the order of names. It does not
	// change State.
	Paused []PausedTopic
	// Unserved is how many buckets no relay held when that was last read. Their
	// messages are not published.
	Unserved int
	// Resets counts how often the relay found that the database was restored to an
	// earlier state or replaced, and read every bucket from its beginning.
	Resets int64
	// OldestPending is the age of the oldest message in the outbox that is due, by
	// the database's clock, as of MeasuredAt; 0 if there was none. It covers all
	// buckets, also those of other relays. It is a duration, as it is meant for an
	// alert; Stats has the time as well.
	OldestPending time.Duration
	// MeasuredAt is when OldestPending was last measured, which happens every few
	// seconds, by this process's clock.
	MeasuredAt time.Time
}

// PausedTopic is a topic that somebody has paused, or all topics; see Operator.Pause. It
// makes the relay no less healthy.
type PausedTopic struct {
	Topic   string    // empty: all topics
	Since   time.Time // by the database's clock
	Waiting int       // messages found so far: those of the topic, and later ones of their keys
	Actor   string
	Reason  string
}

// SuspendedTopic is a topic whose messages are not published, and count no
// attempt, until the broker confirms messages of the topic again. The relay tries
// a few of them from time to time.
type SuspendedTopic struct {
	Topic   string
	Since   time.Time // by this process's clock
	Waiting int       // messages found so far: those of the topic, and later ones of their keys
	Reason  string    // the error of the last attempt
}

// monitor keeps the health of a relay and logs changes. Each part of the relay
// reports its trouble under its own name and clears it when it is over. Any
// trouble makes the relay degraded; only the first and the last are logged.
type monitor struct {
	log *slog.Logger

	mu       sync.Mutex
	health   Health
	troubles map[string]error
	refusals refusals
}

// refusals counts messages that the broker refused, for one log line per interval.
type refusals struct {
	count  int
	logged time.Time
}

// refusalLogInterval limits log lines about refusals to one per interval.
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

// started records that the database has answered for the first time.
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

// trouble reports that a part cannot do its work because of err, or with a nil err
// that it can again.
func (m *monitor) trouble(ctx context.Context, part string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := len(m.troubles)
	if err != nil {
		m.troubles[part] = err
		m.health.LastError = m.worst()
		m.enter(RelayDegraded)
		if before == 0 {
			m.log.WarnContext(ctx, "relay is degraded and retries", "part", part, "error", err)
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

// parts are the most significant parts, in order.
var parts = []string{partLeases, partStandby, partBroker, partTopics}

// worst returns the trouble of the most significant part; the caller holds m.mu.
func (m *monitor) worst() error {
	rest := slices.DeleteFunc(slices.Sorted(maps.Keys(m.troubles)), func(part string) bool { return slices.Contains(parts, part) })
	for _, part := range slices.Concat(parts, rest) {
		switch err := m.troubles[part]; {
		case err == nil:
		case part == partBroker:
			return fmt.Errorf("%w: %w", health.Part(part), err)
		default:
			return fmt.Errorf("%s: %w", part, err)
		}
	}
	return nil
}

// cause returns the trouble of a part, or nil.
func (m *monitor) cause(part string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.troubles[part]
}

// stored counts the outcomes of a batch.
func (m *monitor) stored(ctx context.Context, s storeCounts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.health.Published += int64(s.published)
	m.health.Failed += int64(s.failed)
	m.health.Dead += int64(s.dead)
	m.health.Fenced += int64(s.fenced)
	if s.fenced > 0 {
		m.log.WarnContext(ctx, "outcomes of messages were not stored: another relay has the leases, or the messages were discarded", "messages", s.fenced)
	}
	if s.dead > 0 {
		m.log.ErrorContext(ctx, "messages are dead", "messages", s.dead,
			"example", s.deadExample.ID, "topic", s.deadExample.Topic, "error", s.deadExample.err)
	}
	m.refusals.count += s.failed
	if s.failed > 0 && time.Since(m.refusals.logged) >= refusalLogInterval {
		m.log.WarnContext(ctx, "broker refuses messages; they are retried", "messages", m.refusals.count,
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
