package devbroker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
)

// childDataDir makes the test binary run a broker on this directory instead of tests.
const childDataDir = "DEVBROKER_TEST_DATA_DIR"

// runChild is a broker that runs until it is killed.
func runChild(dir string) {
	b, err := devbroker.Start(context.Background(), devbroker.Config{Addr: "127.0.0.1:0", DataDir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(b.URL())
	select {}
}

// child is a broker in a process of its own.
type child struct {
	url string
	cmd *exec.Cmd
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childDataDir+"="+dir)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the child did not come up: %v", err)
	}
	c.url = strings.TrimSpace(line)
	return c
}

// kill ends the child as kill -9 does, and returns when it has ended.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// TestKillDuringBurst kills the broker again and again while messages are published and consumed, with bodies so
// large that the journal is compacted meanwhile. What was confirmed and not acknowledged must be there in the end, in
// order.
func TestKillDuringBurst(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			b := &burst{confirmed: make(map[int]bool), acked: make(map[int]bool)}
			for round := range 4 {
				c := startChild(t, dir)
				b.run(newSession(t, c.url), kind, func() {
					time.AfterFunc(time.Duration(150+50*round)*time.Millisecond, func() { _ = c.cmd.Process.Kill() })
				})
				c.kill()
			}
			b.check(newSession(t, startChild(t, dir).url))
		})
	}
}

// burst numbers messages and records what became of them. Even ones go to the queue "kept", which nobody reads, odd ones to
// "worked", which is read and acknowledged.
type burst struct {
	sent             int
	confirmed, acked map[int]bool
}

// run publishes and acknowledges until the connection breaks.
func (b *burst) run(s *session, kind string, begun func()) {
	for _, q := range []string{"kept", "worked"} {
		s.queueNamed(q, amqp.Table{"x-queue-type": kind})
	}
	padding := strings.Repeat(" ", 8<<10)
	deliveries := s.consume("worked", 50)
	s.must(s.ch.Confirm(false))
	var workers sync.WaitGroup
	workers.Go(func() {
		for d := range deliveries {
			if n, _ := strconv.Atoi(strings.TrimSpace(string(d.Body))); d.Ack(false) == nil {
				b.acked[n] = true
			}
		}
	})
	type pending struct {
		n int
		*amqp.DeferredConfirmation
	}
	window := make(chan pending, 256)
	workers.Go(func() {
		for p := range window {
			if <-p.Done(); p.Acked() {
				b.confirmed[p.n] = true
			}
		}
	})
	begun()
	for ; ; b.sent++ {
		q, body := "kept", strconv.Itoa(b.sent)
		if b.sent%2 == 1 {
			q, body = "worked", body+padding
		}
		d, err := s.ch.PublishWithDeferredConfirmWithContext(s.Context(), "", q, false, false, persistent(body))
		if err != nil {
			break
		}
		window <- pending{b.sent, d}
	}
	b.sent++ // the number that failed is used up
	close(window)
	workers.Wait()
}

func (b *burst) check(s *session) {
	if len(b.confirmed) < 100 || len(b.acked) < 100 {
		s.Fatalf("only %d confirmed and %d acknowledged: nothing was tested", len(b.confirmed), len(b.acked))
	}
	present := map[int]bool{}
	for _, q := range []string{"kept", "worked"} {
		last := -1
		left := s.ready(q)
		deliveries := s.consume(q, 0)
		for range left {
			n, err := strconv.Atoi(strings.TrimSpace(string(s.next(deliveries).Body)))
			s.must(err)
			if n <= last {
				s.Fatalf("%s: %d came after %d", q, n, last)
			}
			last, present[n] = n, true
		}
	}
	for n := range b.confirmed {
		if !present[n] && !b.acked[n] {
			s.Errorf("%d was confirmed and is lost", n)
		}
	}
	s.Logf("%d sent, %d confirmed, %d acknowledged, %d present", b.sent, len(b.confirmed), len(b.acked), len(present))
}

// TestKillWhileDelivering: a message that was delivered before the broker was killed is marked as redelivered afterwards,
// every time.
func TestKillWhileDelivering(t *testing.T) {
	dir := t.TempDir()
	for count := range 4 {
		c := startChild(t, dir)
		s := newSession(t, c.url)
		s.queueNamed("q", amqp.Table{"x-queue-type": "quorum"})
		if count == 0 {
			s.must(s.ch.Confirm(false))
			s.confirmed("", "q", persistent("poison"))
		}
		d := s.nextBody(s.consume("q", 1), "poison")
		c.kill()
		have, _ := d.Headers["x-delivery-count"].(int64)
		if d.Redelivered != (count > 0) || have != int64(count) {
			t.Fatalf("delivery %d: redelivered %v, x-delivery-count %d", count, d.Redelivered, have)
		}
	}
}

// TestKillAfterDeclaring: what was declared and confirmed is there after the kill.
func TestKillAfterDeclaring(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, dir)
	s := newSession(t, c.url)
	s.queueNamed("q", amqp.Table{"x-message-ttl": int32(60000)})
	s.must(s.ch.ExchangeDeclare("x", "topic", true, false, false, false, nil))
	s.bind("q", "#", "x", nil)
	c.kill()
	s = newSession(t, startChild(t, dir).url)
	s.publish("x", "k", persistent("bound"))
	if d := s.get("q"); string(d.Body) != "bound" {
		t.Fatalf("got %q", d.Body)
	}
}
