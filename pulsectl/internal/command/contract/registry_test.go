package contract

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr/srfake"
	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// run runs a command of contract in an environment.
func run(t *testing.T, variables map[string]string, args ...string) (out string, err error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	e := &env.Env{IO: &console.IO{Out: &stdout, Err: &stderr, Now: time.Now}, Getenv: func(name string) string { return variables[name] }}
	e.IgnoreRunning()
	app := &cli.App{Commands: []*cli.Command{Command(e)}, Writer: &stdout, ErrWriter: &stderr, ExitErrHandler: func(*cli.Context, error) {}}
	err = app.RunContext(t.Context(), append([]string{"pulsectl", "contract"}, args...))
	return stdout.String(), err
}

// What is pushed with a token of a file is pulled into another directory, where
// nothing is replaced unless that is asked for.
func TestPushAndPull(t *testing.T) {
	fake := srfake.New(srfake.WithAuth("Bearer t0ken"))
	t.Cleanup(fake.Close)
	dir := t.TempDir()
	file := func(elements ...string) string { return filepath.Join(append([]string{dir}, elements...)...) }
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(file("token"), "t0ken\n")
	put(file("ours", "a", "1.json"), `{"properties": {"m": {"$ref": "../_s/m.json"}}}`)
	put(file("ours", "_s", "m.json"), `{"type": "number"}`)
	variables := map[string]string{"PULSE_REGISTRY_URL": fake.URL(), "PULSE_REGISTRY_TOKEN_FILE": file("token")}

	out, err := run(t, variables, "push", "--dir", file("ours"))
	if want := "_s/m.json\t_s.m\t1\ttrue\na/1.json\ta\t1\ttrue\n"; err != nil || out != want {
		t.Fatalf("pushed %q, %v; want %q", out, err, want)
	}
	if out, err = run(t, variables, "pull", "--dir", file("theirs")); err != nil || out != "_s/m.json\tnew\na/1.json\tnew\n" {
		t.Fatalf("pulled %q, %v", out, err)
	}
	put(file("theirs", "a", "1.json"), `{"properties":{"m":{"$ref":"../_s/m.json"}}}`) // the same, written otherwise
	put(file("theirs", "_s", "m.json"), `{"type": "string"}`)
	if out, err = run(t, variables, "pull", "--dir", file("theirs")); err == nil || !strings.Contains(err.Error(), "nothing was written") || out != "_s/m.json\tdiffers\na/1.json\tsame\n" {
		t.Errorf("pulled %q, %v", out, err)
	}
	if text, err := os.ReadFile(file("theirs", "_s", "m.json")); err != nil || !strings.Contains(string(text), "string") {
		t.Errorf("the file is %s, %v", text, err)
	}
	if _, err = run(t, variables, "pull", "--dir", file("theirs"), "--force"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(file("theirs", "_s", "m.json")); err != nil || string(text) != `{"type": "number"}` {
		t.Errorf("the file is %s, %v", text, err)
	}

	put(file("token"), "other\n")
	if _, err = run(t, variables, "pull", "--dir", file("theirs")); err == nil || !strings.Contains(fail.From(err).Cause.Error(), "check user, password or token") {
		t.Errorf("a wrong token: %v", err)
	}
	put(file("token"), "t0ken\n")
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if _, err = run(t, variables, "push", "--dir", file("ours")); fail.From(err).ExitCode() != 5 {
		t.Errorf("a registry that is down: %v, exit code %d", err, fail.From(err).ExitCode())
	}
	if _, err = run(t, nil, "push"); err == nil || !strings.Contains(err.Error(), "no schema registry given") {
		t.Errorf("no registry: %v", err)
	}
}
