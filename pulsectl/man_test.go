package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv"
)

// There is one manual page, with every command and its examples.
func TestManualPage(t *testing.T) {
	testenv.Tool(t, "mandoc")
	page, err := exec.Command("pulsectl", "man").Output()
	if err != nil {
		t.Fatal(err)
	}
	mandoc := func(args ...string) string {
		cmd := exec.Command("mandoc", args...)
		cmd.Stdin = strings.NewReader(string(page))
		out, _ := cmd.CombinedOutput() // its exit code tells of warnings
		return string(out)
	}
	for line := range strings.Lines(mandoc("-T", "lint", "-W", "warning")) {
		// A test binary is not built from a commit, and has no date.
		if !strings.Contains(line, "missing date") {
			t.Errorf("mandoc: %s", line)
		}
	}
	shown := mandoc("-T", "utf8", "-O", "width=100")
	for strings.Contains(shown, "\b") { // bold is a letter over itself
		i := strings.IndexByte(shown, '\b')
		shown = shown[:i-1] + shown[i+1:]
	}
	for _, want := range []string{
		"pulsectl - run, inspect", "outbox ls", "chaos broker-slow", "pulsectl outbox ls -q --status dead | pulsectl outbox retry -",
		"--idempotency-key KEY", "EXIT STATUS", "interrupted by SIGTERM", "PULSE_STATE_DIR", `lists are {"items": [...], "next": cursor or null}`,
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}
