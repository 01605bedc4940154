package faults_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/stdlib"
	"github.com/asimalizada/pulse-events/outbox"
)

// childVariable holds the assignment when this program is started again as a
// child.
const childVariable = "PULSE_TEST_FAULTS_CHILD"

// assignment tells a child process what to do.
type assignment struct {
	Role                        role
	Point                       point  // where the child stops and waits to be killed
	Culprit                     string // the event that kills the process
	OrdersURL, NotificationsURL string
	AMQPURL, Exchange, Queue    string
	LeaseTTL                    time.Duration
}

type role string

const (
	roleOrders        role = "orders service"
	roleNotifications role = "notifications service"
	roleRelay         role = "relay"
	roleConsumer      role = "consumer"
)

// point is a place in the code of relay or consumer.
type point string

const (
	nowhere       point = ""
	beforePublish point = "before publish"
	afterConfirm  point = "after confirm"
	staleVerdict  point = "stale verdict" // waits for a line and continues
	inHandler     point = "in the handler"
	beforeAck     point = "before ack"
)

// runChild carries out the assignment of a child. It does not return in a
// child.
func runChild() {
	text := os.Getenv(childVariable)
	if text == "" {
		return
	}
	var a assignment
	err := json.Unmarshal([]byte(text), &a)
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err = a.run(ctx)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (a assignment) run(ctx context.Context) error {
	switch a.Role {
	case roleOrders:
		cfg := stdlib.OrdersConfig{Settings: a.settings(a.OrdersURL), Relay: relayConfig()}
		cfg.Relay.LeaseTTL = a.LeaseTTL
		return serve(ctx, cfg, stdlib.NewOrders)
	case roleNotifications:
		return serve(ctx, stdlib.NotificationsConfig{
			Settings: a.settings(a.NotificationsURL), Queue: a.Queue, RetryDelays: retryDelays, Consumer: consumerConfig(),
		}, stdlib.NewNotifications)
	case roleRelay:
		return a.relay(ctx)
	case roleConsumer:
		return a.consume(ctx)
	}
	return fmt.Errorf("no such role: %q", a.Role)
}

// serve runs a service as its program does, on a port that it reports to the
// parent.
func serve[C any, S interface {
	Run(context.Context, net.Listener) error
}](ctx context.Context, cfg C, build func(C) (S, error)) error {
	service, err := build(cfg)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	tell("serving", "http://"+ln.Addr().String())
	return service.Run(ctx, ln)
}

func (a assignment) settings(databaseURL string) stdlib.Settings {
	return stdlib.Settings{DatabaseURL: databaseURL, AMQPURL: a.AMQPURL, Exchange: a.Exchange, Logger: childLogger()}
}

func childLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// telling serialises lines.
var telling sync.Mutex

// tell sends the parent a line: what has happened, and with which ids.
func tell(what string, whom ...string) {
	telling.Lock()
	defer telling.Unlock()
	fmt.Println(strings.Join(append([]string{what}, whom...), "\t"))
}

// reached tells the parent that the process is at its point, and blocks the
// goroutine there.
func reached(at point, events []string) {
	tell(string(at), events...)
	select {}
}

func messageIDs(msgs []outbox.Message) []string {
	ids := make([]string, len(msgs))
	for i, m := range msgs {
		ids[i] = m.ID.String()
	}
	return ids
}

// child is the process as seen by its parent.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	input io.Writer
	lines chan []string
	ended chan struct{}
	err   error // how it ended
}

// startChild starts a process on the system's databases and broker. It is
// killed at the end of the test at the latest.
func (s *system) startChild(a assignment) *child {
	s.t.Helper()
	a.OrdersURL, a.Exchange, a.Queue = s.ordersURL, s.exchange, s.queue
	if a.NotificationsURL == "" {
		a.NotificationsURL = s.notificationsURL
	}
	if a.AMQPURL == "" {
		a.AMQPURL = s.amqpURL
	}
	if a.LeaseTTL == 0 {
		a.LeaseTTL = leaseTTL
	}
	text, err := json.Marshal(a)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &child{t: s.t, cmd: exec.Command(os.Args[0]), lines: make(chan []string, 1000), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	c.cmd.Stderr = s.t.Output()
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if c.input, err = c.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(c.ended)
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			c.lines <- strings.Split(lines.Text(), "\t")
		}
		close(c.lines)
		c.err = c.cmd.Wait()
	}()
	s.t.Cleanup(c.kill)
	return c
}

// await returns the ids in the next line, which must be the given one.
func (c *child) await(what string) []string {
	c.t.Helper()
	select {
	case line, open := <-c.lines:
		if !open {
			<-c.ended
			c.t.Fatalf("the child has ended (%v) before the line %q", c.err, what)
		}
		if line[0] != what {
			c.t.Fatalf("the child says %q, want %q", line, what)
		}
		return line[1:]
	case <-time.After(patience):
		c.t.Fatalf("the child has not said %q within %v", what, patience)
	}
	panic("unreachable")
}

// kill is kill -9. It returns when the process is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended already
	<-c.ended
}

func (c *child) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// stop sends SIGSTOP and waits until no thread of the process runs: the kernel
// stops threads one by one, which may take a while on a busy machine.
func (c *child) stop() {
	c.t.Helper()
	c.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	for {
		_, err := syscall.Wait4(c.cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || !status.Stopped() {
			c.t.Fatalf("the child has not stopped: status %#x, %v", status, err)
		}
		return
	}
}

// requireExit waits for the process to end by itself, with exit code 0.
func (c *child) requireExit() {
	c.t.Helper()
	select {
	case <-c.ended:
		if c.err != nil {
			c.t.Errorf("the child ended with %v, want exit code 0", c.err)
		}
	case <-time.After(patience):
		c.t.Fatalf("the child has not ended within %v", patience)
	}
}
