package stack_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// Each kind has a driver, and an unknown kind is an error.
func TestDriverOf(t *testing.T) {
	for _, kind := range []stack.Kind{stack.Embedded, stack.External, stack.Compose} {
		d, known := stack.DriverOf(kind)
		if !known || d.Kind() != kind || (stack.State{Stack: kind}).Driver().Kind() != kind {
			t.Errorf("%s: %v, %v", kind, d, known)
		}
	}
	if d, known := stack.DriverOf("moon"); known {
		t.Errorf("moon: %v", d)
	}
	if d := (stack.State{Stack: "moon"}).Driver(); d.Kind() != stack.External {
		t.Errorf("a stack of an unknown kind is %s", d.Kind())
	}
}

func TestDriverControl(t *testing.T) {
	for _, c := range []struct {
		state stack.State
		says  string // empty: it is
	}{
		{stack.State{Stack: stack.Embedded, StartedAt: time.Now(), ControlURL: "http://control"}, ""},
		{stack.State{Stack: stack.External, StartedAt: time.Now()}, "this one is external"},
		{stack.State{Stack: stack.Compose, StartedAt: time.Now()}, "this one is compose"},
		{stack.State{}, "needs a running embedded stack"},
	} {
		client, err := c.state.Driver().Control(c.state)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) || client.URL != c.state.ControlURL {
			t.Errorf("%+v: %+v, %v; want %q", c.state, client, err, c.says)
		}
	}
}

// Settings of another kind are refused.
func TestCheckForeign(t *testing.T) {
	none := func() (stack.Services, []error) { return stack.Services{}, nil }
	for _, d := range stack.Drivers() {
		cfg := stack.Config{Ephemeral: true, Profile: "gin", Getenv: func(string) string { return "" }}
		var said []string
		for _, err := range d.Configure(&cfg, none) {
			if err != nil {
				said = append(said, err.Error())
			}
		}
		all := strings.Join(said, "\n")
		if refused := strings.Contains(all, "are for the embedded stack"); refused != (d.Kind() != stack.Embedded) {
			t.Errorf("%s and --ephemeral: %q", d.Kind(), all)
		}
		if refused := strings.Contains(all, "are for the compose stack"); refused != (d.Kind() != stack.Compose) {
			t.Errorf("%s and --profile: %q", d.Kind(), all)
		}
	}
}

// fakeDocker is a client whose containers are files in its folder: up, or down.
const fakeDocker = `#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >>calls
case "$1" in
ps) echo c1; echo c2 ;;
inspect)
	state() { test -e "$1.down" && echo '"Status": "exited", "FinishedAt": "2026-03-01T12:00:00Z"' || echo '"Status": "running"'; }
	echo '[{"Id": "c1", "Name": "/p-postgres-1", "State": {'$(state p-postgres-1)'}, "Config": {"Labels": {"com.docker.compose.service": "postgres"}}},
	{"Id": "c2", "Name": "/p-rabbitmq-1", "State": {'$(state p-rabbitmq-1)'}, "Config": {"Labels": {"com.docker.compose.service": "rabbitmq"}}}]' ;;
stop) test -e stubborn || : >"$2.down" ;;
start|restart) /bin/rm -f "$2.down" ;;
esac
`

// Containers are stopped, listed as faults, and started again, the database first.
func TestComposeDriverChange(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(fakeDocker), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	var said bytes.Buffer
	out := &console.IO{Out: &said, Err: &said, Now: time.Now}
	s := stack.State{Stack: stack.Compose, Project: "p", StartedAt: time.Now()}
	d := s.Driver()
	change := func(c stack.Change) (string, error) {
		return d.Change(t.Context(), s, c, stack.ChangeOptions{Console: out, Command: func() (string, error) {
			t.Error("asked for the user's own command")
			return "", nil
		}})
	}
	for _, c := range []struct {
		change  stack.Change
		command string
	}{
		{stack.Change{Server: stack.Broker, Action: stack.Stop}, "docker stop p-rabbitmq-1"},
		{stack.Change{Server: stack.Broker, Action: stack.Start}, "docker start p-rabbitmq-1"},
		{d.Restart()[0], "docker restart p-rabbitmq-1"},
		{stack.Change{Server: stack.Broker, Action: stack.Stop}, "docker stop p-rabbitmq-1"},
		{stack.Change{Server: stack.Database, Action: stack.Stop}, "docker stop p-postgres-1"},
	} {
		if command, err := change(c.change); err != nil || command != c.command {
			t.Errorf("%s: %q, %v; want %q", c.change.Name(), command, err, c.command)
		}
	}
	faults, err := d.Faults(t.Context(), s)
	if err != nil || len(faults) != 2 || faults[0].Kind != "db-down" || faults[1].Kind != "broker-down" || faults[0].Since.IsZero() {
		t.Errorf("faults: %+v, %v", faults, err)
	}
	if err := d.Mend(t.Context(), s, out); err != nil {
		t.Fatal(err)
	}
	if faults, err := d.Faults(t.Context(), s); err != nil || len(faults) != 0 {
		t.Errorf("after Mend: %+v, %v", faults, err)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	if db, broker := bytes.LastIndex(calls, []byte("start p-postgres-1")), bytes.LastIndex(calls, []byte("start p-rabbitmq-1")); db < 0 || broker < db {
		t.Errorf("not the database first:\n%s", calls)
	}

	// One that is started again at once has not been stopped.
	if err := os.WriteFile(filepath.Join(dir, "stubborn"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = change(stack.Change{Server: stack.Broker, Action: stack.Stop})
	if f := new(fail.Error); !errors.As(err, &f) || f.Message != "the broker is running" {
		t.Errorf("a container that does not stop: %v", err)
	}
}

// An external stack's servers are stopped by the user's command, and restarted
// by two.
func TestExternalDriverChange(t *testing.T) {
	var said bytes.Buffer
	out := &console.IO{Out: &said, Err: &said, Now: time.Now}
	d, _ := stack.DriverOf(stack.External)
	change := func(command string) (string, error) {
		return d.Change(t.Context(), stack.State{}, stack.Change{Server: stack.Broker, Action: stack.Stop},
			stack.ChangeOptions{Console: out, Command: func() (string, error) { return command, nil }})
	}
	if command, err := change("echo gone"); err != nil || command != "echo gone" || !strings.Contains(said.String(), "gone") {
		t.Errorf("%q, %v, said %q", command, err, said.String())
	}
	if _, err := change("exit 3"); err == nil || !strings.Contains(err.Error(), `broker-down: command "exit 3" failed`) {
		t.Errorf("a command that fails: %v", err)
	}
	if _, err := change(" "); fail.From(err).Kind != fail.Usage || !strings.Contains(fail.From(err).Hint, "PULSE_BROKER_STOP_CMD") {
		t.Errorf("no command: %v", err)
	}
	names := ""
	for _, c := range d.Restart() {
		names += c.Name() + " "
	}
	if names != "broker-down broker-up " {
		t.Errorf("restart: %s", names)
	}
}
