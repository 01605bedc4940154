package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	client "github.com/asimalizada/pulse-events/internal/testenv/internal/keeperclient"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// childVariable makes this test program a user of the shared PostgreSQL that
// prints its URL and runs until its input ends.
const childVariable = "PULSE_KEEPER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := useServer(); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func useServer() error {
	c, err := client.Join()
	if err != nil {
		return err
	}
	endpoints, err := c.Share(protocol.Postgres)
	if errors.Is(err, protocol.ErrUnavailable) {
		fmt.Println("skip:", err)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Println(endpoints.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// meetingPlace returns a directory for TMPDIR that servers can enter.
func meetingPlace(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "keeper")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // empty by then, or the test has failed
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// child starts a user of the server and returns it with the server's URL.
func child(t *testing.T, tmp string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"=1", "TMPDIR="+tmp)
	if _, err := cmd.StdinPipe(); err != nil { // open as long as the child should live
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	line, err := bufio.NewReader(out).ReadString('\n')
	if why, found := strings.CutPrefix(line, "skip:"); found {
		t.Skip("needs PostgreSQL:", why)
	}
	if err != nil || !strings.HasPrefix(line, "postgres://") {
		t.Fatalf("child says %q, %v", line, err)
	}
	return cmd, strings.TrimSpace(line)
}

// end kills a child, unless it has ended.
func end(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// eventually is testenv.Eventually with a tick suitable for processes.
func eventually(t *testing.T, timeout time.Duration, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(timeout); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

func answers(t *testing.T, url string) bool {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		return false
	}
	return conn.Close(t.Context()) == nil
}

func TestKeeperSharesServer(t *testing.T) {
	t.Parallel()
	tmp := meetingPlace(t)
	one, first := child(t, tmp)
	two, second := child(t, tmp)
	if first != second {
		t.Fatalf("two servers, %s and %s; want one for both", first, second)
	}
	end(one) // with SIGKILL, like everything below
	if !answers(t, first) {
		t.Fatal("the server went while one of its users lives")
	}
	end(two)
	eventually(t, idleLimit+20*time.Second, "the keeper to clear up", func() bool {
		left, err := filepath.Glob(filepath.Join(tmp, "*"))
		return err == nil && len(left) == 0
	})
	if answers(t, first) {
		t.Error("the server outlived its keeper")
	}
}

func TestKeeperKilledIsReplaced(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/environ"); errors.Is(err, fs.ErrNotExist) {
		t.Skip("needs /proc to find what a killed keeper left running")
	}
	tmp := meetingPlace(t)
	one, first := child(t, tmp)
	dirs, err := filepath.Glob(filepath.Join(tmp, "*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%v, %v", dirs, err)
	}
	rep, err := protocol.Ask(protocol.Socket(dirs[0]), protocol.Request{Op: protocol.Ping})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(rep.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the keeper's end", func() bool { return !host.Alive(rep.PID) })
	if !answers(t, first) {
		t.Fatal("the server ended with its keeper; there is nothing to test")
	}
	two, second := child(t, tmp)
	if answers(t, first) {
		t.Error("a server of the killed keeper still runs")
	}
	if !answers(t, second) {
		t.Error("the new keeper's server does not answer")
	}
	end(one)
	end(two)
	eventually(t, idleLimit+20*time.Second, "the keeper to clear up", func() bool {
		_, err := os.Stat(dirs[0])
		return errors.Is(err, fs.ErrNotExist)
	})
}
