package testenv

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
)

// Docker skips the test (or fails it, see the package comment) if no Docker
// daemon answers.
func Docker(t testing.TB) {
	t.Helper()
	if err := join(t).Docker(); err != nil {
		giveUp(t, needDocker, err)
	}
}

// imageDefault matches the images in a compose file, and the variables that
// override them.
var imageDefault = regexp.MustCompile(`\$\{(PULSE_\w+_IMAGE):-([^}]+)\}`)

// observers are variables of images that are in a profile which no test starts.
var observers = []string{"PULSE_PROMETHEUS_IMAGE", "PULSE_GRAFANA_IMAGE", "PULSE_JAEGER_IMAGE"}

// Compose returns the commands of Docker Compose on this machine: docker
// compose for version 2, docker-compose for version 1, or both. It skips the
// test (or fails it) if there is no client, no daemon answers, or an image in
// the compose file can neither be found nor pulled; those that only watch the
// services are not needed.
func Compose(t testing.TB, file string) (clients [][]string) {
	t.Helper()
	Docker(t)
	for _, client := range [][]string{{"docker", "compose"}, {"docker-compose"}} {
		if exec.CommandContext(t.Context(), client[0], append(client[1:], "version")...).Run() == nil {
			clients = append(clients, client)
		}
	}
	if len(clients) == 0 {
		giveUp(t, needDocker, errors.New("neither docker compose nor docker-compose is there (on Debian: apt-get install docker-compose)"))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	images := imageDefault.FindAllStringSubmatch(string(text), -1)
	if len(images) == 0 {
		t.Fatalf("%s names no images", file)
	}
	for _, m := range images {
		image := cmp.Or(os.Getenv(m[1]), m[2])
		if slices.Contains(observers, m[1]) {
			continue
		}
		if image == "scratch" { // not an image, though builds may begin with it
			continue
		}
		if err := join(t).Pull(image); err != nil {
			giveUp(t, needDocker, fmt.Errorf("%w (%s names another; internal/testenv/images/build makes stand-ins)", err, m[1]))
		}
	}
	return clients
}

// FreePorts returns unused TCP ports of 127.0.0.1.
func FreePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := host.FreePorts(n)
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return ports
}
