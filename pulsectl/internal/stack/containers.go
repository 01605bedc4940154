package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Services of the compose file. Those of an application contain its profile,
// such as orders-stdlib.
const (
	databaseService = "postgres"
	brokerService   = "rabbitmq"
	// credentialsService generates the passwords and ends; run again it prints
	// them.
	credentialsService = "credentials"
)

// jobs are services that do their work at each start, and end.
var jobs = []string{credentialsService, "migrate", "topology"}

func isJob(c compose.Container) bool { return slices.Contains(jobs, c.Service) }

// done reports whether c has to do nothing more: a job that has ended well, or a
// service that is healthy.
func done(c compose.Container) bool {
	if isJob(c) {
		return c.Status == "exited" && c.ExitCode == 0
	}
	return c.Healthy()
}

// containersConfig selects the containers to run.
type containersConfig struct {
	dir      string // of the state file
	client   *compose.Client
	project  compose.Project
	settings compose.Settings
	// healthy limits the time from the start of the containers until all are
	// healthy. Pulling and building images before that is not limited.
	healthy time.Duration
	out     *console.IO
}

// startContainers builds and starts the containers of a project, waits for
// them, and records where they are. Running containers are left as they are.
func startContainers(ctx context.Context, cfg containersConfig) (s State, err error) {
	claimed, err := Claim(cfg.dir, Compose)
	if err != nil {
		return State{}, err
	}
	defer func() { err = errors.Join(err, claimed.Release()) }()
	before, err := noted(cfg.dir)
	switch {
	case errors.Is(err, ErrNotRunning):
		before.StartedAt = time.Now().UTC()
	case err != nil:
		return State{}, err
	case before.Project != cfg.project.Name || before.Profiles != cfg.project.Profiles || before.ComposeFile != cfg.project.File:
		return State{}, ErrRunning
	}

	if err := checkPorts(ctx, cfg); err != nil {
		return State{}, err
	}
	containers, err := makeAndStart(ctx, cfg)
	if err != nil {
		return State{}, err
	}
	s = State{
		Stack: Compose, StartedAt: before.StartedAt,
		ComposeFile: cfg.project.File, Project: cfg.project.Name, Profiles: cfg.project.Profiles, Client: cfg.client.String(),
	}
	if err := locate(ctx, cfg, containers, &s); err != nil {
		return State{}, err
	}
	return s, claimed.Publish(s)
}

// makeAndStart returns the containers once they are healthy.
func makeAndStart(ctx context.Context, cfg containersConfig) (containers []compose.Container, err error) {
	images := func() string { return "images to be pulled and built, which takes minutes the first time" }
	err = cfg.out.Wait(ctx, images, func(output io.Writer) error { return cfg.client.Make(ctx, cfg.project, output) })
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, cfg.healthy)
	defer cancel()
	w := &watch{project: cfg.project.Name, changed: func(c compose.Container) {
		if !cfg.out.ErrTTY { // a terminal shows progress instead
			cfg.out.Notef("%s: %s", c.Service, c.Condition())
		}
	}}
	err = cfg.out.Wait(limited, w.line, func(output io.Writer) (err error) {
		if err := cfg.client.Start(limited, cfg.project, output); err != nil {
			return err
		}
		containers, err = w.await(limited)
		return err
	})
	if taken, ok := errors.AsType[*compose.PortError](err); ok {
		return nil, cfg.portTaken(taken)
	}
	if err != nil {
		return nil, whyNotUp(ctx, cfg.project.Name, err)
	}
	return containers, nil
}

// removeContainers removes the containers of a project, with volumes their data
// as well, and the record of them.
func removeContainers(ctx context.Context, dir string, client *compose.Client, p compose.Project, volumes bool, output io.Writer) (err error) {
	claimed, err := Claim(dir, Compose)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claimed.Release()) }()
	if _, err := os.Stat(p.File); err != nil {
		left, err := compose.Containers(ctx, p.Name)
		if err != nil {
			return err
		}
		if len(left) > 0 {
			return fail.New(fail.General, fmt.Sprintf("run: docker rm -f $(docker ps -aq --filter label=com.docker.compose.project=%s); then again: pulsectl down", p.Name),
				"the compose file %s is gone, and its containers are still there", p.File)
		}
	} else if err := client.Down(ctx, p, volumes, output); err != nil {
		return err
	}
	// The record may be of another project's containers.
	if s, err := noted(dir); err == nil && s.Project == p.Name {
		return claimed.Forget()
	}
	return nil
}

// project returns the stack's compose project.
func (s State) project() compose.Project {
	return compose.Project{File: s.ComposeFile, Name: s.Project, Profiles: s.Profiles}
}

// containers lists the containers of a stack, without those of jobs.
func (s State) containers(ctx context.Context) ([]compose.Container, error) {
	list, err := compose.Containers(ctx, s.Project)
	return slices.DeleteFunc(list, isJob), err
}

// ServerContainers returns the containers of the database and of the broker.
func (s State) ServerContainers(ctx context.Context) (database, broker compose.Container, err error) {
	if database, err = s.containerOf(ctx, databaseService); err == nil {
		broker, err = s.containerOf(ctx, brokerService)
	}
	return database, broker, err
}

func (s State) containerOf(ctx context.Context, service string) (compose.Container, error) {
	list, err := s.containers(ctx)
	if err != nil {
		return compose.Container{}, fail.Wrap("cannot look at the containers", err)
	}
	i := slices.IndexFunc(list, func(c compose.Container) bool { return c.Service == service })
	if i < 0 {
		return compose.Container{}, fail.New(fail.NotFound, "make it again: pulsectl up --stack compose", "project %s has no container of %s", s.Project, service)
	}
	return list[i], nil
}

// stoppedContainers returns the stopped ones of a stack, servers first.
func (s State) stoppedContainers(ctx context.Context) ([]compose.Container, error) {
	list, err := s.containers(ctx)
	if err != nil {
		return nil, fail.Wrap("cannot look at the containers", err)
	}
	list = slices.DeleteFunc(list, func(c compose.Container) bool {
		return c.Status != "exited" && c.Status != "created" && c.Status != "dead"
	})
	rank := func(c compose.Container) int {
		if i := slices.IndexFunc(servers, func(s Server) bool { return s.service() == c.Service }); i >= 0 {
			return i
		}
		return len(servers)
	}
	slices.SortStableFunc(list, func(a, b compose.Container) int { return cmp.Compare(rank(a), rank(b)) })
	return list, nil
}

// locate asks for the credentials and adds the addresses of all servers to s.
func locate(ctx context.Context, cfg containersConfig, containers []compose.Container, s *State) error {
	raw, err := cfg.client.Once(ctx, cfg.project, credentialsService, "show")
	if err != nil {
		return fail.Wrap("cannot read the credentials", err)
	}
	var inside struct{ OutboxDB, InboxDB, AMQPURL, APIToken string }
	if json.Unmarshal(raw, &inside) != nil || inside.OutboxDB == "" || inside.InboxDB == "" || inside.AMQPURL == "" {
		// Its output contains passwords and is not shown.
		return fmt.Errorf("service %s does not print outboxDb, inboxDb and amqpUrl", credentialsService)
	}
	s.APIToken = inside.APIToken // empty: a compose file of an earlier version, whose services ask nobody
	address := func(service, port string) (string, error) {
		for _, c := range containers {
			if addr := c.Addr(port); c.Service == service && addr != "" {
				return addr, nil
			}
		}
		return "", fmt.Errorf("service %s does not publish port %s", service, port)
	}
	orders, notifications := "orders-"+cfg.project.Profile(), "notifications-"+cfg.project.Profile()
	for _, part := range []struct {
		to            *string
		from          string
		service, port string
	}{
		{&s.OutboxDB, inside.OutboxDB, databaseService, "5432"},
		{&s.InboxDB, inside.InboxDB, databaseService, "5432"},
		{&s.AMQPURL, inside.AMQPURL, brokerService, "5672"},
		{&s.RabbitMQUIURL, "http://ui", brokerService, "15672"},
		{&s.OrdersURL, "http://orders", orders, portOf(orders, false)},
		{&s.NotificationsURL, "http://notifications", notifications, portOf(notifications, false)},
	} {
		addr, err := address(part.service, part.port)
		if err != nil {
			return err
		}
		u, err := url.Parse(part.from)
		if err != nil {
			return fmt.Errorf("service %s prints an invalid URL", credentialsService)
		}
		u.Host = addr
		*part.to = u.String()
	}
	// A compose file of an earlier version publishes no metrics.
	for to, service := range map[*string]string{&s.OrdersMetricsURL: orders, &s.NotificationsMetricsURL: notifications} {
		if addr, err := address(service, portOf(service, true)); err == nil {
			*to = "http://" + addr + "/metrics"
		}
	}
	for to, service := range map[*string]string{&s.PrometheusURL: "prometheus", &s.GrafanaURL: "grafana", &s.JaegerURL: "jaeger"} {
		if addr, err := address(service, portOf(service, false)); err == nil { // of the profile observe
			*to = "http://" + addr
		}
	}
	return nil
}
