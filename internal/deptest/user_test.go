package deptest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mostSums bounds the lines of go.sum in a module that imports a library and
// nothing else. River's users get 43.
const mostSums = 61

// notForUsers are parts of the names of modules that only this project's
// programs and test servers need.
var notForUsers = []string{"docker", "gin-gonic", "gorm.io", "urfave", "charmbracelet", "charm.land", "testscript", "toxiproxy", "uptrace", "entgo.io", "ariga.io", "sqlc", "openbao", "hashicorp"}

// TestUserModule makes a user's module for each library and holds what go mod
// tidy writes into its go.sum: the modules of the library and of its tests.
func TestUserModule(t *testing.T) {
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	module := strings.TrimSpace(output(t, ".", "list", "-m"))
	for _, library := range []string{"outbox", "inbox", "outbox/rabbitmq", "inbox/rabbitmq"} {
		t.Run(library, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "main.go"), fmt.Sprintf("package main\n\nimport _ %q\n\nfunc main() {}\n", module+"/"+library))
			write(t, filepath.Join(dir, "go.mod"), fmt.Sprintf("module example.com/user\n\ngo 1.26\n\nrequire %s v0.0.0\n\nreplace %s => %s\n", module, module, top))
			// What a library's dependencies need for their own tests may not be in
			// the module cache.
			if out, err := goIn(dir, "mod", "tidy"); err != nil {
				skipWithoutProxy(t, out)
			}
			if out, err := goIn(dir, "build", "./..."); err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			text, err := os.ReadFile(filepath.Join(dir, "go.sum"))
			if err != nil {
				t.Fatal(err)
			}
			sums := strings.Split(strings.TrimSpace(string(text)), "\n")
			if len(sums) > mostSums {
				t.Errorf("go.sum has %d lines, at most %d are wanted:\n%s", len(sums), mostSums, text)
			}
			for _, line := range sums {
				if slices.ContainsFunc(notForUsers, func(part string) bool { return strings.Contains(line, part) }) {
					t.Errorf("go.sum has %s", line)
				}
			}
		})
	}
}

// skipWithoutProxy skips the test where modules cannot be fetched, and fails it
// where PULSE_TEST_REQUIRE lists modules or the reason is another one.
func skipWithoutProxy(t *testing.T, out string) {
	t.Helper()
	offline := slices.ContainsFunc([]string{"dial tcp", "no such host", "module lookup disabled", "connection refused", "i/o timeout"},
		func(text string) bool { return strings.Contains(out, text) })
	if !offline || slices.Contains(strings.Split(os.Getenv("PULSE_TEST_REQUIRE"), ","), "modules") {
		t.Fatalf("go mod tidy:\n%s", out)
	}
	t.Skipf("needs the module proxy: %s", out)
}

func goIn(dir string, args ...string) (string, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
