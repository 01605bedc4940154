package service

import (
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

func TestByVersion(t *testing.T) {
	paths := []string{"/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/9/bin", "/usr/lib/postgresql/16/bin", "/opt/rabbitmq_server-3.9.10", "/opt/rabbitmq_server-3.10.8"}
	slices.SortFunc(paths, byVersion)
	got := strings.Join(paths, " ")
	want := "/opt/rabbitmq_server-3.9.10 /opt/rabbitmq_server-3.10.8 /usr/lib/postgresql/9/bin /usr/lib/postgresql/15/bin /usr/lib/postgresql/16/bin"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestDockerHost(t *testing.T) {
	for _, c := range []struct{ endpoint, host, bindTo string }{
		{"unix:///var/run/docker.sock", "127.0.0.1", "127.0.0.1"},
		{"tcp://docker:2375", "docker", ""},
		{"http://localhost:2375", "localhost", ""},
	} {
		if host, bindTo := dockerHost(c.endpoint); host != c.host || bindTo != c.bindTo {
			t.Errorf("%s: %q and %q; want %q and %q", c.endpoint, host, bindTo, c.host, c.bindTo)
		}
	}
}

func TestFindDockerRequired(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	for required, wanted := range map[string]bool{"": false, "postgres,rabbitmq": false, "postgres, docker": true} {
		t.Setenv(protocol.RequireVariable, required)
		if dockerRequired() != wanted {
			t.Errorf("%q: containers are required: %v", required, !wanted)
		}
	}
	t.Setenv(protocol.RequireVariable, "docker")
	if _, err := Find(t.Context(), protocol.Postgres); !errors.Is(err, protocol.ErrUnavailable) || !errors.Is(err, errNoDaemon) {
		t.Errorf("Find: %v", err)
	}
	if _, err := New(t.Context(), protocol.Postgres, t.TempDir()+"/server"); !errors.Is(err, protocol.ErrUnavailable) || !errors.Is(err, errNoDaemon) {
		t.Errorf("New: %v", err)
	}
}

// A shell whose child is in another session, like PostgreSQL's backends and
// Erlang's helpers.
func TestKillTreeOtherSessions(t *testing.T) {
	cmd := (*account)(nil).command(t.TempDir(), nil, "sh", "-c", "setsid sleep 600 & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 16)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	if !host.Alive(child) {
		t.Fatal("the child does not run")
	}
	if err := killTree(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if host.Alive(child) {
		t.Error("the child outlived its parent")
	}
	if err, ok := cmd.Wait().(*exec.ExitError); !ok || err.Exited() {
		t.Errorf("the parent ended with %v; want a signal", err)
	}
}
