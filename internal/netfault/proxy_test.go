package netfault_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/asimalizada/pulse-events/internal/netfault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// echo starts a server that sends every line back, and counts the lines it got.
func echo(t *testing.T) (addr string, got chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	got = make(chan string, 100)
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					got <- lines.Text()
					if _, err := conn.Write([]byte(lines.Text() + "\n")); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		wg.Wait()
	})
	return listener.Addr().String(), got
}

type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func start(t *testing.T) (*netfault.Proxy, chan string, func() client) {
	t.Helper()
	addr, got := echo(t)
	p, err := netfault.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p, got, func() client {
		t.Helper()
		conn, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		return client{t, conn, bufio.NewReader(conn)}
	}
}

func (c client) send(line string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line + "\n")); err != nil {
		c.t.Error(err)
	}
}

func (c client) requireLine(want string) {
	c.t.Helper()
	if line, err := c.in.ReadString('\n'); err != nil || line != want+"\n" {
		c.t.Fatalf("read %q, %v; want %q", line, err, want)
	}
}

// requireEnd requires that the connection is closed, and not that time is up.
func (c client) requireEnd() {
	c.t.Helper()
	if line, err := c.in.ReadString('\n'); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, %v; want the end of the connection", line, err)
	}
}

func TestStallHoldsBackOneDirection(t *testing.T) {
	p, got, dial := start(t)
	c := dial()
	c.send("one")
	c.requireLine("one")
	<-got

	p.Stall(netfault.ToClient)
	c.send("two")
	if line := <-got; line != "two" { // the server has it
		t.Fatal(line)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.in.ReadString('\n'); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the answer has come: %v", err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	p.Restore()
	c.requireLine("two") // late, not lost
	c.send("three")
	c.requireLine("three")
}

func TestLoseDropsAndBreaks(t *testing.T) {
	p, got, dial := start(t)
	c := dial()
	c.send("one")
	c.requireLine("one")
	<-got

	p.Lose(netfault.ToClient)
	c.send("two")
	if line := <-got; line != "two" {
		t.Fatal(line)
	}
	p.Restore()
	c.requireEnd()
	again := dial()
	again.send("three")
	again.requireLine("three")
}

func TestPartition(t *testing.T) {
	p, _, dial := start(t)
	c := dial()
	c.send("one")
	c.requireLine("one")
	p.Partition()
	c.requireEnd()
	dial().requireEnd()
	p.Restore()
	again := dial()
	again.send("two")
	again.requireLine("two")
}

func TestDelay(t *testing.T) {
	p, _, dial := start(t)
	const late = 50 * time.Millisecond
	p.Delay(late)
	c := dial()
	begun := time.Now()
	c.send("one")
	c.requireLine("one")
	if took := time.Since(begun); took < 2*late {
		t.Errorf("there and back in %v, want %v at least", took, 2*late)
	}
}

func TestRetarget(t *testing.T) {
	p, _, dial := start(t)
	c := dial()
	c.send("one")
	c.requireLine("one")
	other, got := echo(t)
	p.Retarget(other)
	c.send("two") // stays where it is
	c.requireLine("two")
	again := dial()
	again.send("three")
	again.requireLine("three")
	if line := <-got; line != "three" {
		t.Error(line)
	}
}

// A proxy can be closed in any state.
func TestCloseWhileStalled(t *testing.T) {
	p, _, dial := start(t)
	c := dial()
	p.Freeze()
	p.Delay(time.Hour)
	c.send("one")
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	c.requireEnd()
}

// While bytes are held back or lost the server does not learn that the client has
// gone.
func TestTheEndWaitsOrIsLost(t *testing.T) {
	for name, fault := range map[string]func(*netfault.Proxy){
		"held back": (*netfault.Proxy).Freeze,
		"lost":      func(p *netfault.Proxy) { p.Lose(netfault.ToServer) },
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			p, err := netfault.Listen(listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close() })
			conn, err := net.Dial("tcp", p.Addr())
			if err != nil {
				t.Fatal(err)
			}
			server, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			fault(p)
			_ = conn.Close()
			_ = server.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("the end has come: %v", err)
			}
			p.Restore()
			_ = server.SetReadDeadline(time.Now().Add(patience))
			if _, err := server.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v, want the end of the connection", err)
			}
		})
	}
}
