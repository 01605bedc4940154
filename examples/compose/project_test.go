package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/asimalizada/pulse-events/examples/acceptance"
	"github.com/asimalizada/pulse-events/internal/testenv"
)

// Limits of a command to Compose, and of the wait until its services are healthy.
// The first command compiles them.
const (
	commandLimit = 8 * time.Minute
	healthLimit  = 2 * time.Minute
)

// project is docker-compose.yml, run by one client under a name and at ports
// of its own.
type project struct {
	client []string
	name   string
	dir    string
	env    []string
	ports  map[string]int // published, by the variable that sets it
}

// The variables that set the ports of a project.
const (
	postgresPort = "PULSE_POSTGRES_PORT"
	amqpPort     = "PULSE_AMQP_PORT"
	uiPort       = "PULSE_RABBITMQ_UI_PORT"
)

// newProject prepares a project, and removes it after the test.
func newProject(t *testing.T, client []string) *project {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	p := &project{
		client: client, dir: root, ports: make(map[string]int),
		name: strings.ReplaceAll(testenv.UniqueName(t, "pulse-test"), ".", "-"),
	}
	variables := []string{
		postgresPort, amqpPort, uiPort, "PULSE_ORDERS_STDLIB_PORT", "PULSE_NOTIFICATIONS_STDLIB_PORT",
		"PULSE_ORDERS_GIN_PORT", "PULSE_NOTIFICATIONS_GIN_PORT",
		"PULSE_ORDERS_STDLIB_METRICS_PORT", "PULSE_NOTIFICATIONS_STDLIB_METRICS_PORT",
		"PULSE_ORDERS_GIN_METRICS_PORT", "PULSE_NOTIFICATIONS_GIN_METRICS_PORT",
	}
	// Without variables of the environment that belong to another project.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "COMPOSE_") {
			p.env = append(p.env, variable)
		}
	}
	// Both clients can use the builder without BuildKit, so that the second
	// finds what the first has compiled; parallel builds would not be faster.
	p.env = append(p.env, "COMPOSE_PROJECT_NAME="+p.name, "DOCKER_BUILDKIT=0")
	if len(client) > 1 { // version 1 has no such limit
		p.env = append(p.env, "COMPOSE_PARALLEL_LIMIT=1")
	}
	for i, port := range testenv.FreePorts(t, len(variables)) {
		p.ports[variables[i]] = port
		p.env = append(p.env, variables[i]+"="+strconv.Itoa(port))
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
		defer cancel()
		if t.Failed() {
			if logs, err := p.try(ctx, "", "logs", "--no-color", "--tail=40"); err == nil {
				t.Logf("logs:\n%s", logs)
			}
		}
		for _, profile := range []string{"stdlib", "gin"} {
			if _, err := p.try(ctx, profile, "down", "--volumes", "--rmi", "local", "--timeout", "10"); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

// try runs the client with a profile, or with that of .env, and returns what
// it prints.
func (p *project) try(ctx context.Context, profile string, args ...string) (string, error) {
	args = append(append([]string{}, p.client[1:]...), args...)
	cmd := exec.CommandContext(ctx, p.client[0], args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	if profile != "" {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], "COMPOSE_PROFILES="+profile)
	}
	return output(cmd)
}

// output returns what a command prints to its standard output; the error
// has the end of its standard error.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := stderr.String()
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, said[max(0, len(said)-4000):])
	}
	return stdout.String(), nil
}

// do runs the client with the profile of .env.
func (p *project) do(t *testing.T, args ...string) string {
	t.Helper()
	return p.with(t, "", args...)
}

// with runs the client with a profile.
func (p *project) with(t *testing.T, profile string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	out, err := p.try(ctx, profile, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// docker runs the docker command.
func docker(t *testing.T, args ...string) string {
	t.Helper()
	out, err := output(exec.CommandContext(t.Context(), "docker", args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// container is what is read from docker inspect.
type container struct {
	ID           string
	Name         string
	RestartCount int
	State        struct {
		Status    string
		Pid       int
		ExitCode  int
		StartedAt string
		Health    *struct{ Status string }
	}
	Config struct {
		User   string
		Labels map[string]string
	}
	Mounts []struct {
		Name, Destination string
		RW                bool
	}
}

func (c container) health() string {
	if c.State.Health == nil {
		return c.State.Status
	}
	return c.State.Status + ", " + c.State.Health.Status
}

// ids returns the containers of the project, running or not.
func (p *project) ids(t *testing.T) []string {
	t.Helper()
	return strings.Fields(docker(t, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+p.name))
}

// containers returns the project's containers by service.
func (p *project) containers(t *testing.T) map[string]container {
	t.Helper()
	var list []container
	if err := json.Unmarshal([]byte(docker(t, append([]string{"inspect"}, p.ids(t)...)...)), &list); err != nil {
		t.Fatal(err)
	}
	services := make(map[string]container)
	for _, c := range list {
		services[c.Config.Labels["com.docker.compose.service"]] = c
	}
	return services
}

// awaitHealthy waits until each service runs and is healthy.
func (p *project) awaitHealthy(t *testing.T, services ...string) {
	t.Helper()
	p.await(t, services, container.health, "running, healthy")
}

// awaitEnd waits until each service has ended without an error.
func (p *project) awaitEnd(t *testing.T, services ...string) {
	t.Helper()
	p.await(t, services, func(c container) string { return c.State.Status + ", code " + strconv.Itoa(c.State.ExitCode) }, "exited, code 0")
}

// await waits until each service is in a state.
func (p *project) await(t *testing.T, services []string, state func(container) string, want string) {
	t.Helper()
	deadline := time.Now().Add(healthLimit)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		var waiting []string
		for name, c := range p.containers(t) {
			if slices.Contains(services, name) && state(c) != want {
				waiting = append(waiting, name+": "+state(c))
			}
		}
		if len(waiting) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v not yet %s: %s", healthLimit, want, strings.Join(waiting, "; "))
		}
		<-tick.C
	}
}

// addresses are what credentials show prints, with the published ports.
type addresses struct{ OutboxDB, InboxDB, AMQPURL, APIToken string }

func (p *project) addresses(t *testing.T) addresses {
	t.Helper()
	var a addresses
	out := p.do(t, "run", "--rm", "-T", "--no-deps", "credentials", "show")
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		t.Fatalf("credentials show: %v", err)
	}
	for address, variable := range map[*string]string{&a.OutboxDB: postgresPort, &a.InboxDB: postgresPort, &a.AMQPURL: amqpPort} {
		u, err := url.Parse(*address)
		if err != nil {
			t.Fatal("credentials show: an address that is no URL")
		}
		u.Host = "127.0.0.1:" + strconv.Itoa(p.ports[variable])
		*address = u.String()
	}
	return a
}

// target is the pair of services of a profile, for the acceptance suite.
func (p *project) target(t *testing.T, profile string) acceptance.Target {
	t.Helper()
	base := func(service string) string {
		port := p.ports["PULSE_"+service+"_"+strings.ToUpper(profile)+"_PORT"]
		return "http://127.0.0.1:" + strconv.Itoa(port)
	}
	broker := func(verb string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := p.try(ctx, profile, verb, "rabbitmq")
			return err
		}
	}
	given := p.addresses(t)
	return acceptance.Target{
		OrdersURL: base("ORDERS"), NotificationsURL: base("NOTIFICATIONS"),
		AMQPURL:    given.AMQPURL,
		Tokens:     []acceptance.Tokens{{All: given.APIToken}},
		StopBroker: broker("stop"), StartBroker: broker("start"),
		Patience: healthLimit,
	}
}

// dockerLogs returns all that a container has written.
func dockerLogs(t *testing.T, id string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "logs", id).CombinedOutput()
	if err != nil {
		t.Fatalf("docker logs: %v\n%s", err, out)
	}
	return string(out)
}
