package stack_test

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// childEnv makes this test program run a stack that publishes its state and waits.
const childEnv = "PULSE_TEST_STACK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		claimed, err := stack.Claim(dir, stack.External)
		if err == nil {
			err = claimed.Publish(stack.State{Stack: stack.External, PID: os.Getpid(), AMQPURL: "amqp://u:s3cret@h/"})
		}
		if err != nil {
			panic(err)
		}
		os.Stdout.WriteString("ready\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestLoadWhileProcessLives(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := stack.Load(dir); !errors.Is(err, stack.ErrNotRunning) {
		t.Fatalf("nothing there: %v", err)
	}
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("child says %q: %v", line, err)
	}
	s, err := stack.Load(dir)
	if err != nil || s.PID != child.Process.Pid {
		t.Fatalf("Load: %+v, %v", s, err)
	}
	if strings.Contains(s.Redacted().AMQPURL, "s3cret") {
		t.Error("Redacted shows the password")
	}
	if _, err := stack.Claim(dir, stack.External); !errors.Is(err, stack.ErrRunning) {
		t.Errorf("a second claim: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "stack.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v; want mode 0600, it holds passwords", info.Mode(), err)
	}

	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if _, err := stack.Load(dir); !errors.Is(err, stack.ErrNotRunning) {
		t.Errorf("after kill -9: %v", err)
	}
	claimed, err := stack.Claim(dir, stack.External)
	if err != nil {
		t.Fatalf("claim after kill -9: %v", err)
	}
	if _, err := stack.Load(dir); !errors.Is(err, stack.ErrNotRunning) {
		t.Errorf("claimed but not ready: the note of the killed one is believed: %v", err)
	}
	if err := claimed.Release(); err != nil {
		t.Fatal(err)
	}
}

// Containers run without a process of pulsectl: their record is valid without one,
// and other kinds cannot start.
func TestLoadContainers(t *testing.T) {
	dir := t.TempDir()
	claim := func(kind stack.Kind) *stack.Claimed {
		t.Helper()
		c, err := stack.Claim(dir, kind)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Ignore the record of a killed stack.
	must(os.WriteFile(stack.Path(dir), []byte(`{"stack": "external"}`), 0o600))
	up := claim(stack.Compose)
	if _, err := stack.Load(dir); !errors.Is(err, stack.ErrNotRunning) {
		t.Errorf("on its way up: %v", err)
	}
	if _, err := stack.Claim(dir, stack.Compose); !errors.Is(err, stack.ErrRunning) {
		t.Errorf("two at a time: %v", err)
	}
	must(up.Publish(stack.State{Stack: stack.Compose, Project: "p"}))
	must(up.Release())
	if s, err := stack.Load(dir); err != nil || s.Project != "p" {
		t.Errorf("up has returned: %+v, %v", s, err)
	}
	if _, err := stack.Claim(dir, stack.Embedded); !errors.Is(err, stack.ErrRunning) {
		t.Errorf("another kind: %v", err)
	}
	again := claim(stack.Compose)
	if s, err := stack.Load(dir); err != nil || s.Project != "p" {
		t.Errorf("up once more: %+v, %v", s, err)
	}
	must(again.Forget())
	must(again.Release())
	if _, err := stack.Load(dir); !errors.Is(err, stack.ErrNotRunning) {
		t.Errorf("after down: %v", err)
	}
	must(claim(stack.Embedded).Release())
}

func TestPortTakenErrorNamesHolder(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	err = stack.RunEmbedded(t.Context(), stack.Config{Dir: t.TempDir(), OrdersAddr: ln.Addr().String()}, nil)
	taken, ok := errors.AsType[*stack.PortTakenError](err)
	if !ok || !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(taken.Holder, strconv.Itoa(os.Getpid())) {
		t.Errorf("holder %q, want this process, %d", taken.Holder, os.Getpid())
	}
}
