package outbox

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// newRelays is newRelay for several outboxes.
func newRelays(t testing.TB, outboxes map[string]*Outbox, p Publisher, cfg RelaysConfig) *Relays {
	t.Helper()
	cfg.Relay.Logger = quiet
	rs, err := NewRelays(outboxes, p, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// startAll is start for several relays.
func startAll(t testing.TB, rs *Relays) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rs.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func tenant(i int) string { return fmt.Sprintf("tenant%d", i) }

// Several databases, and several schemas in one of them, on one publisher.
func TestRelaysServeDatabasesAndSchemas(t *testing.T) {
	const databases, schemas, each = 3, 3, 50
	outboxes := make(map[string]*Outbox)
	for i := range databases {
		outboxes[tenant(i)], _ = postgres.newOutbox(t)
	}
	shared := postgres.connect(t, testenv.Postgres(t))
	for i := range schemas {
		name := tenant(databases + i)
		shared.MustExec(`CREATE SCHEMA ` + name)
		ob := outboxOf(t, shared, WithSchema(name))
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		outboxes[name] = ob
	}
	outboxes["a file"], _ = file.newOutbox(t)
	for name, ob := range outboxes {
		enqueue(t, ob, keyed(name, each)...)
	}
	b := &broker{}
	rs := newRelays(t, outboxes, b, RelaysConfig{Relay: eager(), Connections: 3})
	stop := startAll(t, rs)
	eventually(t, "everything to be published", func() bool { return rs.Total().Published == int64(each*len(outboxes)) })
	if err := rs.Run(t.Context()); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "tenant2: ") {
		t.Errorf("Run twice: %v", err)
	}
	for name, h := range rs.Health() {
		if h.Published != each || h.State != RelayRunning || h.Leases != buckets {
			t.Errorf("%s: %+v", name, h)
		}
		wantTopics(t, keysTopics(b, name), topicsOf(name, each))
	}
	if total := rs.Total(); total.State != RelayRunning || total.Leases != buckets*len(outboxes) || total.LastError != nil {
		t.Errorf("together %+v", total)
	}
	stop()

	for name, ob := range outboxes {
		enqueue(t, ob, keyed(name, 2)...)
	}
	drained, err := rs.Drain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name := range outboxes {
		wantDrained(t, drained[name], Drained{Published: 2, Left: exactly(0), Later: exactly(0)})
	}
}

// A database that does not answer takes no connection from another, even if the
// limit is one for all.
func TestRelaysHangingDatabase(t *testing.T) {
	outboxes := make(map[string]*Outbox)
	var hanging []*testenv.Proxy
	for i := range 3 {
		url := testenv.Postgres(t)
		u, err := neturl.Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		p := testenv.NewProxy(t, u.Host)
		postgres.newOutboxAt(t, url)
		outboxes[tenant(i)] = outboxOf(t, postgres.connect(t, p.Through(t, url)))
		hanging = append(hanging, p)
	}
	outboxes["well"], _ = postgres.newOutbox(t)
	b := &broker{}
	rs := newRelays(t, outboxes, b, RelaysConfig{Relay: RelayConfig{Grace: 100 * time.Millisecond}, Connections: 1})
	startAll(t, rs)
	eventually(t, "the leases", func() bool { return rs.Total().Leases == buckets*len(outboxes) })
	for i, p := range hanging {
		enqueue(t, outboxes[tenant(i)], NewMessage("waits", nil))
		p.Freeze()
	}
	before := b.count()
	for i := range 5 {
		m := NewMessage(fmt.Sprintf("well.%d", i), nil)
		enqueue(t, outboxes["well"], m)
		awaitStatus(t, outboxes["well"], Published, m)
	}
	if n := b.count() - before; n < 5 {
		t.Errorf("%d of 5 messages were published", n)
	}
	eventually(t, "the others to be degraded", func() bool { return rs.Health()[tenant(0)].State == RelayDegraded })
	if h := rs.Health()["well"]; h.State != RelayRunning {
		t.Errorf("%+v", h)
	}
	if total := rs.Total(); total.State != RelayDegraded || total.LastError == nil || !strings.HasPrefix(total.LastError.Error(), "tenant") {
		t.Errorf("together %+v", total)
	}
	for _, p := range hanging {
		p.Thaw()
	}
	eventually(t, "what waits to be published", func() bool {
		return slices.Equal(slices.DeleteFunc(b.topics(), func(topic string) bool { return topic != "waits" }), []string{"waits", "waits", "waits"})
	})
}

// No more connections are used at once than were allowed.
func TestRelaysBoundConnections(t *testing.T) {
	const most = 2
	url := testenv.Postgres(t)
	admin, db := postgres.connect(t, url), postgres.connect(t, url)
	outboxes := make(map[string]*Outbox)
	for i := range 4 { // in one pool, which counts for all of them
		admin.MustExec(`CREATE SCHEMA ` + tenant(i))
		ob := outboxOf(t, admin, WithSchema(tenant(i)))
		if _, err := ob.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		enqueue(t, ob, keyed("k", 100)...)
		outboxes[tenant(i)] = outboxOf(t, db, WithSchema(tenant(i)))
	}
	rs := newRelays(t, outboxes, &broker{}, RelaysConfig{Relay: eager()})
	gates := newGates(len(outboxes), most, time.Hour)
	for i, name := range rs.names {
		rs.relays[name].gate = gates[i]
	}
	var highest atomic.Int64
	watching, stopWatching := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for watching.Err() == nil {
			highest.Store(max(highest.Load(), int64(db.Stats().InUse)))
			runtime.Gosched()
		}
	}()
	startAll(t, rs)
	eventually(t, "everything to be published", func() bool { return rs.Total().Published == 400 })
	stopWatching()
	<-watched
	if n := highest.Load(); n == 0 || n > most {
		t.Errorf("%d connections were used at once, want at most %d", n, most)
	}
}

func TestRelaysGate(t *testing.T) {
	gates := newGates(2, 1, 10*time.Millisecond)
	slow, well := gates[0], gates[1]
	leave, err := slow.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// It overruns, and another relay gets the slot.
	leaveWell, err := well.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leaveWell()
	// Of the slow relay one more may try.
	leaveLast, err := slow.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := slow.enter(ended); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third statement of a database that does not answer: %v", err)
	}
	leave()
	leaveLast()
	if n, slots := slow.overruns.Load(), len(slow.slots); n != 0 || slots != 0 || len(slow.last) != 0 {
		t.Errorf("%d overruns, %d slots in use afterwards", n, slots)
	}
}

func TestRelaysConfigNamesEveryProblem(t *testing.T) {
	_, err := NewRelays(map[string]*Outbox{"a": nil, "b": nil}, nil, RelaysConfig{Connections: -1, Relay: RelayConfig{BatchSize: -1}})
	for _, part := range []string{"Connections: -1", "a: outbox: relay:", "b: outbox: relay:", "BatchSize", "the outbox is nil", "the publisher is nil"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not named in: %v", part, err)
		}
	}
	if _, err := NewRelays(nil, &broker{}, RelaysConfig{}); err == nil || !strings.Contains(err.Error(), "there is no outbox") {
		t.Errorf("without an outbox: %v", err)
	}
}
