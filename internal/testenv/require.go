package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// RequireVariable lists the services that a run requires.
const RequireVariable = protocol.RequireVariable

// need is a service, named as in RequireVariable.
type need string

const (
	needPostgres need = "postgres"
	needRabbitMQ need = "rabbitmq"
	needDocker   need = "docker"
	// PgBouncer is a binary beside PostgreSQL.
	needPgBouncer need = "pgbouncer"
	// Prometheus and promtool are binaries.
	needPrometheus need = "prometheus"
	needModules    need = "modules" // the module proxy; needed by a test of the module itself
	needTools      need = "tools"   // programs on the PATH, such as other shells
	needChromium   need = "chromium"
)

var needs = []need{needPostgres, needRabbitMQ, needPgBouncer, needPrometheus, needDocker, needModules, needTools, needChromium}

// Tool skips the test (or fails it, see the package comment) if a program, such
// as a shell or a terminal, is not on the PATH.
func Tool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		giveUp(t, needTools, fmt.Errorf("%s %w (on Debian: make install-services)", name, protocol.ErrUnavailable))
	}
}

// NodeModules returns the directory of the npm packages that tests use. Without
// the given one it skips the test (or fails it, see the package comment).
func NodeModules(t testing.TB, name string) string {
	t.Helper()
	Tool(t, "node")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(cache, "pulse-producers", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, name)); err != nil {
		giveUp(t, needTools, fmt.Errorf("npm package %s %w (on Debian: make install-producers)", name, protocol.ErrUnavailable))
	}
	return modules
}

// Chromium returns the path of a Chromium or Chrome. Without one it skips the test
// (or fails it, see the package comment).
func Chromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	giveUp(t, needChromium, fmt.Errorf("chromium %w (on Debian: apt-get install chromium)", protocol.ErrUnavailable))
	return ""
}

// giveUp ends a test whose service is missing.
func giveUp(t testing.TB, n need, err error) {
	t.Helper()
	message, fatal := skipOrFail(os.Getenv(RequireVariable), n, err)
	if fatal {
		t.Fatal(message)
	}
	t.Skip(message)
}

// skipOrFail decides between skipping and failing. Only a missing service is a
// reason to skip: one that does not work fails the test.
func skipOrFail(required string, n need, err error) (message string, fatal bool) {
	var list []need
	for word := range strings.SplitSeq(required, ",") {
		word := need(strings.TrimSpace(word))
		if word != "" && !slices.Contains(needs, word) {
			return fmt.Sprintf("testenv: %s lists %q; it knows %q", RequireVariable, word, needs), true
		}
		list = append(list, word)
	}
	switch {
	case n != needDocker && !errors.Is(err, protocol.ErrUnavailable):
		return fmt.Sprintf("testenv: %s: %v", n, err), true
	case slices.Contains(list, n):
		return fmt.Sprintf("testenv: %s is required by %s: %v", n, RequireVariable, err), true
	}
	return fmt.Sprintf("testenv: needs %s: %v", n, err), false
}
