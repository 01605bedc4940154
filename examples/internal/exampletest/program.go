package exampletest

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// build returns the path of a program of this stack.
func build(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./cmd/"+name).CombinedOutput()
	if err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return path
}

// runProgram starts a program with nothing but these variables set, and
// without authentication. Whatever
// it prints goes into output.
func runProgram(t *testing.T, path string, output *Journal, variables ...string) *exec.Cmd {
	t.Helper()
	return startProgram(t, exec.Command(path), output, variables...)
}

func startProgram(t *testing.T, cmd *exec.Cmd, output *Journal, variables ...string) *exec.Cmd {
	t.Helper()
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = append(variables, "HOME="+t.TempDir(), "PULSE_AUTH=off"), output, output, Patience
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return 0
}

// Programs tests that the programs below cmd read their settings, serve without a broker,
// answer for their health, end in order, and tell by their exit code how it went.
func Programs(t *testing.T) {
	for name, c := range map[string]struct{ db, addr string }{
		"orders":        {"PULSE_OUTBOX_DB", "PULSE_ORDERS_ADDR"},
		"notifications": {"PULSE_INBOX_DB", "PULSE_NOTIFICATIONS_ADDR"},
	} {
		path := build(t, name)
		if name == "notifications" {
			listsPending(t, path)
		}
		OnEachPlatform(t, func(t *testing.T, on Platform) {
			var complaint Journal
			err := runProgram(t, path, &complaint, "PULSE_AMQP_URL=http://app:hunter2@x/").Wait()
			if got := exitCode(t, err); got != 2 {
				t.Errorf("wrong settings: exit code %d, want 2", got)
			}
			for _, want := range []string{c.db + ": is empty", "PULSE_AMQP_URL: "} {
				if !strings.Contains(complaint.String(), want) {
					t.Errorf("wrong settings: %s\ndoes not hold %q", &complaint, want)
				}
			}

			secret := filepath.Join(t.TempDir(), "db")
			if err := os.WriteFile(secret, []byte(on.Database(t)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			addr, metricsAddr := freeAddr(t), freeAddr(t)
			var logs Journal
			program := runProgram(t, path, &logs, c.db+"_FILE="+secret, "PULSE_AMQP_URL=amqp://app:hunter2@127.0.0.1:1/", c.addr+"="+addr,
				"PULSE_METRICS_ADDR="+metricsAddr, "PULSE_DRAIN_PERIOD=1s")
			beside := func(argument string) int {
				cmd := exec.CommandContext(t.Context(), path, argument)
				cmd.Env, cmd.Stderr = program.Env, &complaint
				return exitCode(t, cmd.Run())
			}
			awaitReady(t, addr) // without a broker
			if status, text := Ask(t, http.MethodGet, "http://"+metricsAddr+"/metrics", ""); status != http.StatusOK || !strings.Contains(string(text), `service_name="`+name+`"`) {
				t.Errorf("metrics: %d %s", status, text)
			}
			if got := beside("healthcheck"); got != 0 {
				t.Errorf("healthcheck of a service that is ready: exit code %d, want 0\n%s", got, &complaint)
			}
			if err := program.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			testenv.Eventually(t, Patience, name+" to say that it stops, and to serve on", func() bool {
				status, body := Ask(t, http.MethodGet, "http://"+addr+"/health/ready", "")
				return status == http.StatusServiceUnavailable && strings.Contains(string(body), `"status":"draining"`)
			})
			if status, body := Ask(t, http.MethodGet, "http://"+addr+"/health/live", ""); status != http.StatusOK {
				t.Errorf("while it drains: %d %s", status, body)
			}
			if got := exitCode(t, program.Wait()); got != 0 {
				t.Errorf("after SIGTERM: exit code %d, want 0\n%s", got, &logs)
			}
			if got := beside("health"); got != 2 || !strings.Contains(complaint.String(), "usage: "+name) {
				t.Errorf("an argument that means nothing: exit code %d, want 2\n%s", got, &complaint)
			}
			if got := beside("healthcheck"); got != 1 {
				t.Errorf("healthcheck of a service that has ended: exit code %d, want 1", got)
			}
			if logs.Find(t, map[string]any{"msg": "serving", "service": name}) == nil { // every line has to be a record
				t.Errorf("the logs do not tell of the start:\n%s", &logs)
			}

			err = runProgram(t, path, &complaint, c.db+"_FILE="+secret, "PULSE_AMQP_URL="+Nobody, "PULSE_AUTO_MIGRATE=false",
				c.addr+"=256.256.256.256:1").Wait()
			if got := exitCode(t, err); got != 1 {
				t.Errorf("an address that cannot be listened on: exit code %d, want 1", got)
			}
			for _, output := range []*Journal{&complaint, &logs} {
				if strings.Contains(output.String(), "hunter2") {
					t.Errorf("the output tells a password:\n%s", output)
				}
			}
		})
	}
}

// freeAddr returns an address nobody listens on at the moment.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
