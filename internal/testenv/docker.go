package testenv

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/service"
)

// Docker skips the test (or fails it, see the package's text) where no Docker
// daemon answers.
func Docker(t testing.TB) {
	t.Helper()
	if _, err := service.DockerPool(t.Context()); err != nil {
		giveUp(t, needDocker, err)
	}
}

// Images skips the test (or fails it) where the Docker daemon neither has an
// image nor can fetch it.
func Images(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := service.EnsureImage(t.Context(), name); err != nil {
			giveUp(t, needDocker, fmt.Errorf("%w (internal/testenv/images/build makes stand-ins)", err))
		}
	}
}

// ComposeClients returns how Docker Compose is called here: version 2 as
// docker compose, version 1 as docker-compose, or both. It skips the test (or
// fails it) where there is neither.
func ComposeClients(t testing.TB) [][]string {
	t.Helper()
	var found [][]string
	for _, client := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.CommandContext(t.Context(), client[0], append(client[1:], "version")...).Run() == nil {
			found = append(found, client)
		}
	}
	if len(found) == 0 {
		giveUp(t, needDocker, errors.New("neither docker compose nor docker-compose is there (on Debian: apt-get install docker-compose)"))
	}
	return found
}

// FreePorts returns TCP ports of 127.0.0.1 at which nobody listens.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := service.FreePorts(n)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return ports
}
