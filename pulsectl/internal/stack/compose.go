package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// Services of the compose file. Those of an application are named after its
// profile, such as orders-stdlib.
const (
	DatabaseService = "postgres"
	BrokerService   = "rabbitmq"
	// credentialsService makes the passwords and ends; run again it tells them.
	credentialsService = "credentials"
)

// DefaultProfile is what runs where nobody has chosen.
const DefaultProfile = "stdlib"

// publishedPort is a port of a service, and the variable of the compose file
// with its number on this machine.
type publishedPort struct{ service, port, variable, fallback string }

var publishedPorts = []publishedPort{
	{DatabaseService, "5432", "PULSE_POSTGRES_PORT", "5433"},
	{BrokerService, "5672", "PULSE_AMQP_PORT", "5673"},
	{BrokerService, "15672", "PULSE_RABBITMQ_UI_PORT", "15673"},
	{"orders-stdlib", "6101", "PULSE_ORDERS_STDLIB_PORT", "6101"},
	{"notifications-stdlib", "6102", "PULSE_NOTIFICATIONS_STDLIB_PORT", "6102"},
	{"orders-gin", "6201", "PULSE_ORDERS_GIN_PORT", "6201"},
	{"notifications-gin", "6202", "PULSE_NOTIFICATIONS_GIN_PORT", "6202"},
}

// applicationPort is the port that a service of a profile listens on.
func applicationPort(service string) string {
	for _, p := range publishedPorts {
		if p.service == service {
			return p.port
		}
	}
	return ""
}

// ComposeConfig says which containers to run.
type ComposeConfig struct {
	Dir      string // of the state file
	Client   *compose.Client
	Project  compose.Project
	Settings compose.Settings
	// Healthy bounds the time from the start of the containers until all are
	// healthy. Images are pulled and built before, however long that takes.
	Healthy time.Duration
	Wait    Waiter
	// Changed tells of a container whose condition is another than before.
	Changed func(compose.Container)
}

// UpCompose builds, starts and awaits the containers of a project, and notes
// where they are. Containers that run already are left as they are.
func UpCompose(ctx context.Context, cfg ComposeConfig) (s State, err error) {
	claimed, err := Claim(cfg.Dir, Compose)
	if err != nil {
		return State{}, err
	}
	defer func() { err = errors.Join(err, claimed.Release()) }()
	before, err := noted(cfg.Dir)
	switch {
	case errors.Is(err, ErrNotRunning):
		before.StartedAt = time.Now().UTC()
	case err != nil:
		return State{}, err
	case before.Project != cfg.Project.Name || before.Profiles != cfg.Project.Profiles || before.ComposeFile != cfg.Project.File:
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
		ComposeFile: cfg.Project.File, Project: cfg.Project.Name, Profiles: cfg.Project.Profiles, Client: cfg.Client.String(),
	}
	if err := locate(ctx, cfg, containers, &s); err != nil {
		return State{}, err
	}
	return s, claimed.Publish(s)
}

// makeAndStart returns the containers once they are healthy.
func makeAndStart(ctx context.Context, cfg ComposeConfig) (containers []compose.Container, err error) {
	images := func() string { return "images to be pulled and built, which takes minutes the first time" }
	err = cfg.Wait(ctx, images, func(output io.Writer) error { return cfg.Client.Make(ctx, cfg.Project, output) })
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, cfg.Healthy)
	defer cancel()
	w := &watch{project: cfg.Project.Name, changed: cfg.Changed}
	err = cfg.Wait(limited, w.line, func(output io.Writer) (err error) {
		if err := cfg.Client.Start(limited, cfg.Project, output); err != nil {
			return err
		}
		containers, err = w.await(limited)
		return err
	})
	if taken, ok := errors.AsType[*compose.PortError](err); ok {
		return nil, cfg.portTaken(taken)
	}
	if err != nil {
		return nil, whyNotUp(ctx, cfg.Project.Name, err)
	}
	return containers, nil
}

// DownCompose removes the containers of a project, with volumes their data as
// well, and the note of them.
func DownCompose(ctx context.Context, dir string, client *compose.Client, p compose.Project, volumes bool, output io.Writer) (err error) {
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
	// Another project's containers may be what is noted.
	if s, err := noted(dir); err == nil && s.Project == p.Name {
		return claimed.Forget()
	}
	return nil
}

// NotedProject is the project of a noted stack.
func (s State) NotedProject() compose.Project {
	return compose.Project{File: s.ComposeFile, Name: s.Project, Profiles: s.Profiles}
}

// Containers lists what a compose stack consists of.
func (s State) Containers(ctx context.Context) ([]compose.Container, error) {
	list, err := compose.Containers(ctx, s.Project)
	return slices.DeleteFunc(list, func(c compose.Container) bool { return c.Service == credentialsService }), err
}

// checkPorts looks for ports that are taken before anything is built. A
// container that runs holds its ports itself.
func checkPorts(ctx context.Context, cfg ComposeConfig) error {
	containers, err := compose.Containers(ctx, cfg.Project.Name)
	if err != nil {
		return err
	}
	for _, p := range publishedPorts {
		runs := slices.ContainsFunc(containers, func(c compose.Container) bool { return c.Service == p.service && c.Status == "running" })
		if runs || !wanted(p.service, cfg.Project.Profiles) {
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", cfg.number(p))
		ln, err := net.Listen("tcp", addr)
		if err == nil {
			err = ln.Close()
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return cfg.portTaken(&compose.PortError{Addr: addr, Err: err})
		}
	}
	return nil
}

// number is a port's number on this machine.
func (cfg ComposeConfig) number(p publishedPort) string {
	return cmp.Or(cfg.Settings.Get(p.variable), p.fallback)
}

// portTaken says whose port is taken, by whom, and what names another.
func (cfg ComposeConfig) portTaken(e *compose.PortError) error {
	taken := &PortTakenError{Part: "container", Addr: e.Addr, Holder: holder(e.Addr), Err: e}
	_, number, _ := net.SplitHostPort(e.Addr)
	for _, p := range publishedPorts {
		if cfg.number(p) == number && wanted(p.service, cfg.Project.Profiles) {
			taken.Part, taken.Variable = p.service, p.variable
		}
	}
	return taken
}

// wanted reports whether one of the profiles has the service.
func wanted(service, profiles string) bool {
	if service == DatabaseService || service == BrokerService {
		return true
	}
	for profile := range strings.SplitSeq(profiles, ",") {
		if strings.HasSuffix(service, "-"+strings.TrimSpace(profile)) {
			return true
		}
	}
	return false
}

// locate asks for the credentials and completes s with where all is reached
// from this machine.
func locate(ctx context.Context, cfg ComposeConfig, containers []compose.Container, s *State) error {
	raw, err := cfg.Client.Once(ctx, cfg.Project, credentialsService, "show")
	if err != nil {
		return fail.Wrap("cannot learn the credentials", err)
	}
	var inside struct{ OutboxDB, InboxDB, AMQPURL string }
	if json.Unmarshal(raw, &inside) != nil || inside.OutboxDB == "" || inside.InboxDB == "" || inside.AMQPURL == "" {
		// What it printed holds passwords and is not shown.
		return fmt.Errorf("service %s does not tell outboxDb, inboxDb and amqpUrl", credentialsService)
	}
	address := func(service, port string) (string, error) {
		for _, c := range containers {
			if addr := c.Addr(port); c.Service == service && addr != "" {
				return addr, nil
			}
		}
		return "", fmt.Errorf("service %s does not publish port %s", service, port)
	}
	orders, notifications := "orders-"+cfg.Project.Profile(), "notifications-"+cfg.Project.Profile()
	for _, part := range []struct {
		to            *string
		from          string
		service, port string
	}{
		{&s.OutboxDB, inside.OutboxDB, DatabaseService, "5432"},
		{&s.InboxDB, inside.InboxDB, DatabaseService, "5432"},
		{&s.AMQPURL, inside.AMQPURL, BrokerService, "5672"},
		{&s.RabbitMQUIURL, "http://ui", BrokerService, "15672"},
		{&s.OrdersURL, "http://orders", orders, applicationPort(orders)},
		{&s.NotificationsURL, "http://notifications", notifications, applicationPort(notifications)},
	} {
		addr, err := address(part.service, part.port)
		if err != nil {
			return err
		}
		u, err := url.Parse(part.from)
		if err != nil {
			return fmt.Errorf("service %s tells a URL that is none", credentialsService)
		}
		u.Host = addr
		*part.to = u.String()
	}
	return nil
}
