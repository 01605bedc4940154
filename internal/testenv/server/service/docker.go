package service

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ory/dockertest/v3"
	"github.com/ory/dockertest/v3/docker"

	"github.com/asimalizada/pulse-events/internal/testenv/internal/host"
	"github.com/asimalizada/pulse-events/internal/testenv/internal/protocol"
)

// Default images.
const (
	postgresImage = "postgres:17"
	rabbitmqImage = "rabbitmq:4-management"
)

// dockerRequired reports whether binaries are no substitute for containers.
func dockerRequired() bool {
	return slices.ContainsFunc(strings.Split(os.Getenv(protocol.RequireVariable), ","), func(word string) bool {
		return strings.TrimSpace(word) == "docker"
	})
}

// containerLabel marks our containers with the process that owns them.
const containerLabel = "pulse-events.testenv.owner"

const (
	pingLimit = 2 * time.Second
	pullLimit = 4 * time.Minute
)

var errNoDaemon = errors.New("no Docker daemon answers")

// DockerPool connects to the Docker daemon the environment names, and fails
// within two seconds where none answers.
func DockerPool(ctx context.Context) (*dockertest.Pool, error) {
	pool, err := dockertest.NewPool("")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errNoDaemon, err)
	}
	ctx, cancel := context.WithTimeout(ctx, pingLimit)
	defer cancel()
	if err := pool.Client.PingWithContext(ctx); err != nil {
		return nil, fmt.Errorf("%w (%w)", errNoDaemon, err)
	}
	return pool, nil
}

// container is the machine of a server that runs in Docker.
type container struct {
	client *docker.Client
	id     string
	signal docker.Signal // of the graceful stop
	done   chan struct{}
}

func newContainer(ctx context.Context, kind protocol.Kind) (*Instance, error) {
	pool, err := DockerPool(ctx)
	if err != nil {
		return nil, err
	}
	ports, err := host.FreePorts(2)
	if err != nil {
		return nil, err
	}
	host, bindTo := dockerHost(pool.Client.Endpoint())
	bind := func(port int) []docker.PortBinding {
		return []docker.PortBinding{{HostIP: bindTo, HostPort: strconv.Itoa(port)}}
	}
	i := &Instance{}
	machine := &container{client: pool.Client}
	config, bindings := &docker.Config{Image: image(kind)}, map[docker.Port][]docker.PortBinding{}
	switch kind {
	case protocol.Postgres:
		config.Env = []string{"POSTGRES_USER=" + pgUser, "POSTGRES_PASSWORD=" + pgPassword, "POSTGRES_DB=postgres"}
		config.Cmd = []string{"postgres", "-c", "max_connections=300"}
		bindings["5432/tcp"] = bind(ports[0])
		machine.signal = docker.SIGINT
		i.Endpoints = protocol.Endpoints{URL: pgURL(host, ports[0])}
		i.ready = func(ctx context.Context) error { return pgReady(ctx, i.URL) }
	default:
		// The node's name, and with it its data, hangs on the host's name.
		config.Hostname = "pulse"
		bindings["5672/tcp"] = bind(ports[0])
		managementPort := 0
		if kind == protocol.ManagedRabbitMQ {
			managementPort = ports[1]
			bindings["15672/tcp"] = bind(managementPort)
		}
		machine.signal = docker.SIGTERM
		i.Endpoints = rabbitEndpoints(host, ports[0], managementPort)
		i.ready = i.rabbitReady
		i.control = []string{"rabbitmqctl"}
	}
	config.Labels = map[string]string{containerLabel: strconv.Itoa(os.Getpid())}
	config.ExposedPorts = map[docker.Port]struct{}{}
	for port := range bindings {
		config.ExposedPorts[port] = struct{}{}
	}
	if err := pull(ctx, pool.Client, config.Image); err != nil {
		return nil, err
	}
	c, err := pool.Client.CreateContainer(docker.CreateContainerOptions{
		Config:     config,
		HostConfig: &docker.HostConfig{PortBindings: bindings},
		Context:    ctx,
	})
	if err != nil {
		return nil, fmt.Errorf("create container of %s: %w", config.Image, err)
	}
	machine.id = c.ID
	i.machine = machine
	return i, nil
}

// image names what a service's containers are made from.
func image(kind protocol.Kind) string {
	if kind == protocol.Postgres {
		return cmp.Or(os.Getenv(protocol.PostgresImageVariable), postgresImage)
	}
	return cmp.Or(os.Getenv(protocol.RabbitMQImageVariable), rabbitmqImage)
}

// EnsureImage fetches an image the daemon does not have.
func EnsureImage(ctx context.Context, image string) error {
	pool, err := DockerPool(ctx)
	if err != nil {
		return err
	}
	return pull(ctx, pool.Client, image)
}

// pull fetches an image the daemon does not have.
func pull(ctx context.Context, client *docker.Client, image string) error {
	if _, err := client.InspectImage(image); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pullLimit)
	defer cancel()
	repository, tag := docker.ParseRepositoryTag(image)
	err := client.PullImage(docker.PullImageOptions{Repository: repository, Tag: cmp.Or(tag, "latest"), Context: ctx}, docker.AuthConfiguration{})
	if err != nil {
		return fmt.Errorf("pull image %s: %w", image, err)
	}
	return nil
}

// dockerHost says where published ports are reached and what they bind to.
func dockerHost(endpoint string) (host, bindTo string) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme == "unix" || u.Hostname() == "" {
		return "127.0.0.1", "127.0.0.1"
	}
	return u.Hostname(), ""
}

func (c *container) start(ctx context.Context) error {
	if err := c.client.StartContainerWithContext(c.id, nil, ctx); err != nil {
		return fmt.Errorf("start container: %w", err)
	}
	c.done = make(chan struct{})
	go func(done chan<- struct{}) {
		defer close(done)
		// An error means that the container or the daemon is gone.
		_, _ = c.client.WaitContainer(c.id)
	}(c.done)
	return nil
}

func (c *container) exited() <-chan struct{} { return c.done }

func (c *container) stop(ctx context.Context, how protocol.Manner) error {
	signal := c.signal
	switch how {
	case protocol.Kill:
		signal = docker.SIGKILL
	case protocol.Immediate:
		if signal != docker.SIGINT {
			return fmt.Errorf("%s: this server cannot be ended that way", how)
		}
		signal = docker.SIGQUIT
	}
	return c.client.KillContainer(docker.KillContainerOptions{ID: c.id, Signal: signal, Context: ctx})
}

func (c *container) run(ctx context.Context, command []string) (string, error) {
	exec, err := c.client.CreateExec(docker.CreateExecOptions{Container: c.id, Cmd: command, AttachStdout: true, AttachStderr: true, Context: ctx})
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := c.client.StartExec(exec.ID, docker.StartExecOptions{OutputStream: &out, ErrorStream: &out, Context: ctx}); err != nil {
		return out.String(), err
	}
	ended, err := c.client.InspectExec(exec.ID)
	if err == nil && ended.ExitCode != 0 {
		err = fmt.Errorf("%s ended with %d", command[0], ended.ExitCode)
	}
	return out.String(), err
}

func (c *container) logTail() string {
	var out bytes.Buffer
	err := c.client.Logs(docker.LogsOptions{Container: c.id, OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true, Tail: "25"})
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(out.String())
}

func (c *container) remove() error {
	return c.client.RemoveContainer(docker.RemoveContainerOptions{ID: c.id, RemoveVolumes: true, Force: true})
}

// RemoveOrphans removes the containers whose owner no longer runs.
func RemoveOrphans(ctx context.Context) error {
	pool, err := DockerPool(ctx)
	if err != nil {
		return nil // no daemon, no containers
	}
	list, err := pool.Client.ListContainers(docker.ListContainersOptions{
		All: true, Filters: map[string][]string{"label": {containerLabel}}, Context: ctx,
	})
	if err != nil {
		return err
	}
	var problems []error
	for _, c := range list {
		owner, err := strconv.Atoi(c.Labels[containerLabel])
		if err == nil && host.Alive(owner) {
			continue
		}
		problems = append(problems, pool.Client.RemoveContainer(docker.RemoveContainerOptions{ID: c.ID, RemoveVolumes: true, Force: true}))
	}
	return errors.Join(problems...)
}
