package outbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// patience is how long tests wait for what should take milliseconds.
const patience = time.Minute

// quiet is the log of relays in tests.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// newRelay returns a relay that does everything often and is quiet, where cfg
// does not say otherwise.
func newRelay(t testing.TB, ob *Outbox, p Publisher, cfg RelayConfig) *Relay {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	relay, err := NewRelay(ob, p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return relay
}

// eager are settings under which a test waits for nothing long.
func eager() RelayConfig {
	return RelayConfig{
		Lanes: 2, PollInterval: 5 * time.Millisecond, MaxPollInterval: 20 * time.Millisecond,
		SweepInterval: 50 * time.Millisecond, Grace: 100 * time.Millisecond,
		Backoff: func(int) time.Duration { return 10 * time.Millisecond },
	}
}

// patient are settings under which a cursor that has passed a row does not
// come back to it by sweeping.
func patient() RelayConfig {
	cfg := eager()
	cfg.SweepInterval = time.Hour
	return cfg
}

// start runs relay until stop is called, or the test ends.
func start(t testing.TB, relay *Relay) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// broker is a Publisher that remembers what it took, in order. judge, where it
// is set, decides on each message; what it answers nil on counts as taken.
type broker struct {
	judge func(Message) error

	mu    sync.Mutex
	taken []Message
	tries map[uuid.UUID]int
}

func (b *broker) Publish(_ context.Context, msgs []Message) []error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tries == nil {
		b.tries = make(map[uuid.UUID]int)
	}
	results := make([]error, len(msgs))
	for i, m := range msgs {
		b.tries[m.ID]++
		if b.judge != nil {
			results[i] = b.judge(m)
		}
		if results[i] == nil {
			b.taken = append(b.taken, m)
		}
	}
	return results
}

// topics returns the topics of the messages taken, in order.
func (b *broker) topics() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	topics := make([]string, len(b.taken))
	for i, m := range b.taken {
		topics[i] = m.Topic
	}
	return topics
}

func (b *broker) count() int { return len(b.topics()) }

// triesOf returns how often m was handed over.
func (b *broker) triesOf(m Message) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tries[m.ID]
}

// stage is a Publisher whose every call waits for the test to answer it.
type stage struct{ calls chan *call }

type call struct {
	ctx    context.Context
	msgs   []Message
	answer chan []error
}

func newStage() *stage { return &stage{calls: make(chan *call)} }

func (s *stage) Publish(ctx context.Context, msgs []Message) []error {
	c := &call{ctx: ctx, msgs: msgs, answer: make(chan []error, 1)}
	select {
	case s.calls <- c:
	case <-ctx.Done():
		return fillErrors(len(msgs), Unavailable(context.Cause(ctx)))
	}
	select {
	case results := <-c.answer:
		return results
	case <-ctx.Done():
		return fillErrors(len(msgs), Unavailable(context.Cause(ctx)))
	}
}

// next returns the next call of Publish.
func (s *stage) next(t testing.TB) *call {
	t.Helper()
	select {
	case c := <-s.calls:
		return c
	case <-time.After(patience):
		t.Fatal("timed out waiting for a call of Publish")
		return nil
	}
}

func (c *call) accept()          { c.answer <- make([]error, len(c.msgs)) }
func (c *call) refuse(err error) { c.answer <- fillErrors(len(c.msgs), err) }

func fillErrors(n int, err error) []error {
	results := make([]error, n)
	for i := range results {
		results[i] = err
	}
	return results
}

// keyed returns n messages of a key, whose topics are key.0, key.1 and so on.
func keyed(key string, n int) (msgs []Message) {
	for i := range n {
		m := NewMessage(fmt.Sprintf("%s.%d", key, i), nil)
		m.Key = key
		msgs = append(msgs, m)
	}
	return msgs
}

// topicsOf returns the topics that keyed gives.
func topicsOf(key string, n int) (topics []string) {
	for _, m := range keyed(key, n) {
		topics = append(topics, m.Topic)
	}
	return topics
}

func record(t testing.TB, ob *Outbox, m Message) Record {
	t.Helper()
	r, err := ob.Get(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	testenv.Eventually(t, patience, what, cond)
}

func awaitStatus(t testing.TB, ob *Outbox, want Status, msgs ...Message) {
	t.Helper()
	for _, m := range msgs {
		eventually(t, fmt.Sprintf("%s to be %s", m.Topic, want), func() bool { return record(t, ob, m).Status == want })
	}
}

// number returns the result of a query for one number.
func number(t testing.TB, db *sqlx.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.Get(&n, query, args...); err != nil {
		t.Fatal(err)
	}
	return n
}

// wantTopics compares what was published with what should have been, in order.
func wantTopics(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
}
