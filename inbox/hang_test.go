package inbox_test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/inbox"
	"github.com/asimalizada/pulse-events/inbox/inboxtest"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// TestConsumerHangingDatabase: the connection is open and nothing arrives any more,
// as after a lost route. That is not a slow handler.
func TestConsumerHangingDatabase(t *testing.T) {
	t.Parallel()
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) { t.Parallel(); testHangingDatabase(t, kind) })
	}
}

func testHangingDatabase(t *testing.T, kind newConsumer) {
	url := testenv.Postgres(t)
	db := openDB(t, url)
	route := newRoute(t, url)
	hanging := openDB(t, route.url)
	in, err := inbox.New(hanging, "notifications", inbox.WithStatementTimeout(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustExec(t, db, `CREATE TABLE effects (event_id text NOT NULL, key text NOT NULL)`)
	var once sync.Once
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		once.Do(route.block)
		return record(ctx, tx, msg)
	}
	q := inboxtest.NewQueue()
	q.Publish(events(5, 1)...)
	c := kind.consume(t, in, hanging, q, handler, inbox.ConsumerConfig{Workers: 1, BatchSize: 1, MaxAttempts: 1, HandlerTimeout: 2 * time.Second})
	eventually(t, "the worker to hold", func() bool { return c.Health().Held == 1 })
	route.unblock()
	q.WaitUntilEmpty(t)
	wantOnce(t, db, events(5, 1))
	if n := len(q.DeadLetters()); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// TestConsumerTellsOfAHangingStatement: health says it long before the statement
// timeout, when the worker hears of it.
func TestConsumerTellsOfAHangingStatement(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	_, db := newInbox(t, url)
	route := newRoute(t, url)
	hanging := openDB(t, route.url)
	in, err := inbox.New(hanging, "notifications", inbox.WithStatementTimeout(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	handler := func(ctx context.Context, tx inbox.Tx, msg inbox.Message) error {
		route.block()
		return record(ctx, tx, msg)
	}
	q := inboxtest.NewQueue()
	q.Publish(event(1))
	c := consume(t, in, q, handler, inbox.ConsumerConfig{HandlerTimeout: time.Hour})
	eventually(t, "health to name the database", func() bool {
		h := c.Health()
		return h.State == inbox.Degraded && h.Held == 0 && strings.Contains(h.LastError.Error(), "database: ")
	})
	route.unblock()
	q.WaitUntilEmpty(t)
	eventually(t, "the consumer to recover", func() bool { return c.Health().State == inbox.Running })
	wantOnce(t, db, []inbox.Message{event(1)})
}

// TestIdleConsumerTellsOfAHangingDatabase: also where statements may take long.
func TestIdleConsumerTellsOfAHangingDatabase(t *testing.T) {
	t.Parallel()
	url := testenv.Postgres(t)
	newInbox(t, url)
	route := newRoute(t, url)
	in, err := inbox.New(openDB(t, route.url), "notifications", inbox.WithStatementTimeout(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c := consume(t, in, inboxtest.NewQueue(), record, inbox.ConsumerConfig{Retention: inbox.KeepForever}) // no purge tells of it
	eventually(t, "the consumer to run", func() bool { return c.Health().State == inbox.Running })
	route.block()
	eventually(t, "health to name the database", func() bool {
		h := c.Health()
		return h.State == inbox.Degraded && strings.HasPrefix(h.LastError.Error(), "database: ")
	})
	route.unblock()
	eventually(t, "the consumer to recover", func() bool { return c.Health().State == inbox.Running })
}

// route is the way to a server, which can be blocked: connections stay open
// and carry nothing.
type route struct {
	url string

	mu   sync.Mutex
	open chan struct{} // closed while the way is clear
	wg   sync.WaitGroup
}

// newRoute returns a way to the server of a URL. It ends with the test.
func newRoute(t *testing.T, server string) *route {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &route{open: make(chan struct{})}
	close(r.open)
	target := u.Host
	u.Host = listener.Addr().String()
	r.url = u.String()
	done := make(chan struct{})
	r.wg.Go(func() { r.accept(listener, target, done) })
	t.Cleanup(func() {
		close(done)
		listener.Close()
		r.wg.Wait()
	})
	return r
}

func (r *route) accept(listener net.Listener, target string, done <-chan struct{}) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		r.wg.Go(func() {
			<-done
			client.Close()
			server.Close()
		})
		r.wg.Go(func() { r.carry(server, client, done) })
		r.wg.Go(func() { r.carry(client, server, done) })
	}
}

// carry copies one direction while the way is clear.
func (r *route) carry(to, from net.Conn, done <-chan struct{}) {
	defer to.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-r.clear():
		case <-done:
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (r *route) clear() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.open
}

// block may be called again: what waits then still goes on with unblock.
func (r *route) block() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.open:
		r.open = make(chan struct{})
	default:
	}
}

func (r *route) unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.open)
}
