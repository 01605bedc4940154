package faults_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// F12: the database commits, and the connection breaks before its answer
// arrives. The client sees an error and repeats the request with the same key.
func TestF12CommitSucceedsClientSeesError(t *testing.T) {
	t.Parallel()
	s := newSystem(t, testenv.RabbitMQ(t))
	commits := newCommitCutter(t, s.ordersURL)
	cfg := s.ordersConfig()
	cfg.DatabaseURL, cfg.AMQPURL = commits.url, nobody
	svc, err := stdlib.NewOrders(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := svc.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s.counter = svc.Handler()

	commits.cutNext()
	if p, err := s.order("customer-123", "Idempotency-Key", "checkout-4711"); err == nil {
		t.Fatalf("the answer to COMMIT was lost, and the order answered: %+v", p)
	}
	if !commits.cut.Load() {
		t.Fatal("no commit was cut off")
	}
	if n := s.count(s.ordersDB, "orders"); n != 1 {
		t.Fatalf("%d orders are committed, want 1: the fault did not happen", n)
	}
	var answers []placed
	for range 2 {
		p, err := s.order("customer-123", "Idempotency-Key", "checkout-4711")
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, p)
	}
	if answers[0] != answers[1] {
		t.Errorf("two answers under one key: %+v", answers)
	}
	if orders, rows := s.count(s.ordersDB, "orders"), s.count(s.ordersDB, "outbox_messages"); orders != 1 || rows != 1 {
		t.Errorf("%d orders and %d outbox rows, want one each", orders, rows)
	}

	s.startNotifications()
	s.startOrders()
	s.awaitSettled()
	s.requireOrders(answers[:1])
	s.requireClean(exceptions{})
}

// commitCutter is a proxy between a service and PostgreSQL. When armed, it
// forwards the next COMMIT, waits for the answer, and breaks the connection
// instead of forwarding that.
type commitCutter struct {
	url, target string
	armed, cut  atomic.Bool
	listener    net.Listener
	wg          sync.WaitGroup
	mu          sync.Mutex
	open        map[net.Conn]bool
}

func newCommitCutter(t *testing.T, databaseURL string) *commitCutter {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &commitCutter{target: u.Host, listener: listener, open: make(map[net.Conn]bool)}
	u.Host = listener.Addr().String()
	c.url = u.String()
	c.wg.Go(c.accept)
	t.Cleanup(func() {
		listener.Close()
		c.mu.Lock()
		for conn := range c.open {
			conn.Close()
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
	return c
}

func (c *commitCutter) cutNext() { c.armed.Store(true) }

func (c *commitCutter) accept() {
	for {
		client, err := c.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", c.target)
		if err != nil {
			client.Close()
			continue
		}
		c.mu.Lock()
		c.open[client], c.open[server] = true, true
		c.mu.Unlock()
		var cutting atomic.Bool
		c.wg.Go(func() { c.handOn(client, server, &cutting) })
		c.wg.Go(func() { c.handBack(server, client, &cutting) })
	}
}

// handOn forwards the client's data, and notes a COMMIT that is to be cut off
// before the server can answer it.
func (c *commitCutter) handOn(client, server net.Conn, cutting *atomic.Bool) {
	defer client.Close()
	defer server.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		// A simple query of pgx: one message in one segment.
		if bytes.Contains(bytes.ToLower(buffer[:n]), []byte("commit\x00")) && c.armed.CompareAndSwap(true, false) {
			cutting.Store(true)
		}
		if _, writeErr := server.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}

// handBack forwards the server's data, up to the answer that is cut off.
func (c *commitCutter) handBack(server, client net.Conn, cutting *atomic.Bool) {
	defer client.Close()
	defer server.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if cutting.Load() && n > 0 {
			c.cut.Store(true)
			return
		}
		if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
			return
		}
	}
}
