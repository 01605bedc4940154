package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/asimalizada/pulse-events/internal/clip"
	"github.com/asimalizada/pulse-events/pulsectl/devbroker"
	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/control"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
)

// defaultProfile is the default profile.
const defaultProfile = "stdlib"

// composeTimeout limits the start of containers, once their images exist.
const composeTimeout = 5 * time.Minute

// composeDriver runs everything in containers, which do not need pulsectl to
// keep running.
type composeDriver struct{}

var composed = composeDriver{}

func (composeDriver) Kind() Kind     { return Compose }
func (composeDriver) Detached() bool { return true }

func (composeDriver) Configure(cfg *Config, _ func() (Services, []error)) []error {
	return []error{cfg.onlyEmbedded(), cfg.onlyInProcess(), cfg.refuseCertificates()}
}

func (composeDriver) Describe(s State) Description {
	return Description{
		Name:   fmt.Sprintf("%s, project %s, profile %s", Compose, s.Project, s.Profiles),
		Status: fmt.Sprintf("%s, profile %s, up since %s, project %s", Compose, s.Profiles, s.StartedAt.Local().Format(time.DateTime), s.Project),
		Place:  "profile " + s.Profiles, Try: "try:", Stop: "stop the containers with: pulsectl down",
	}
}

// Up builds and starts the containers and waits for them. Running ones are left
// as they are.
func (composeDriver) Up(ctx context.Context, cfg Config, ready func(State)) error {
	project, settings, err := findProject(cfg.ComposeFile, cfg.Profile, cfg.Getenv)
	if err != nil {
		return err
	}
	client, err := compose.Find(ctx, "")
	if err != nil {
		return orElse(err, "run without containers: pulsectl up")
	}
	if err := checkProfiles(ctx, client, project); err != nil {
		return err
	}
	out, timeout := cfg.Console, cmp.Or(cfg.Timeout, composeTimeout)
	out.Notef("%s up, project %s, profile %s", client, project.Name, project.Profiles)
	s, err := startContainers(ctx, containersConfig{
		dir: cfg.Dir, client: client, project: project, settings: settings, healthy: timeout, out: out,
	})
	switch taken := new(PortTakenError); {
	case err == nil:
		ready(s)
		return nil
	case errors.Is(err, ErrRunning):
		return AlreadyRunning(Load(cfg.Dir))
	case errors.As(err, &taken):
		hint := "stop it and try again"
		if taken.Variable != "" {
			hint = "stop it, or choose another port: " + taken.Variable + "=PORT pulsectl up --stack compose"
		}
		return fail.New(fail.General, hint, "%v", taken)
	case ctx.Err() != nil:
		return &fail.Error{Kind: fail.Interrupted, Message: "interrupted; some containers may be running", Hint: "stop them with: pulsectl down --stack compose"}
	}
	failed := fail.From(notHealthy(err, "waited "+clip.Duration(timeout)+" for the containers"))
	if failed.Hint == "" {
		failed.Hint = "the output of Compose is above; stop what is running with: pulsectl down --stack compose"
	}
	return failed
}

// findProject returns the project that flags, environment and .env select.
func findProject(file, profile string, getenv func(string) string) (compose.Project, compose.Settings, error) {
	here, err := os.Getwd()
	if err != nil {
		return compose.Project{}, compose.Settings{}, fail.Wrap("cannot look for the compose file", err)
	}
	file, err = compose.FindFile(cmp.Or(file, getenv("PULSE_COMPOSE_FILE")), here)
	if err != nil {
		return compose.Project{}, compose.Settings{}, err
	}
	settings, err := compose.ReadSettings(file, getenv)
	if err != nil {
		return compose.Project{}, settings, fail.Wrap("cannot start", err)
	}
	return compose.Project{
		File: file, Name: compose.ProjectName(file, settings),
		Profiles: cmp.Or(profile, settings.Get("COMPOSE_PROFILES"), defaultProfile),
	}, settings, nil
}

// FindCompose returns the stack of a compose file, recorded or not.
func FindCompose(file string, getenv func(string) string) (State, error) {
	p, _, err := findProject(file, "", getenv)
	return State{Stack: Compose, ComposeFile: p.File, Project: p.Name, Profiles: p.Profiles}, err
}

// checkProfiles refuses unknown profiles: Compose itself would silently start
// nothing for them.
func checkProfiles(ctx context.Context, client *compose.Client, project compose.Project) error {
	have, err := client.Profiles(ctx, project)
	if err != nil {
		return fail.Wrap("cannot read "+project.File, err)
	}
	for name := range strings.SplitSeq(project.Profiles, ",") {
		if name = strings.TrimSpace(name); !slices.Contains(have, name) {
			return fail.Usagef("have: "+strings.Join(have, ", "), "unknown profile %q", name)
		}
	}
	return nil
}

// Down removes the containers with the client that started them, if that is
// known.
func (composeDriver) Down(ctx context.Context, s State, o DownOptions) error {
	if o.Volumes && o.Confirm != nil {
		if err := o.Confirm(fmt.Sprintf("All orders, messages and queues of project %s will be deleted permanently: continue?", s.Project)); err != nil {
			return err
		}
	}
	if o.Dir == "" {
		return fail.Wrap("cannot stop", ErrNoDir)
	}
	limited, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	client, err := compose.Find(limited, s.Client)
	if err != nil {
		return orElse(err, "delete the record of the containers: rm "+console.Quoted(Path(o.Dir)))
	}
	what := func() string { return "the containers of project " + s.Project + " to stop" }
	err = o.Console.Wait(limited, what, func(output io.Writer) error {
		return removeContainers(limited, o.Dir, client, s.project(), o.Volumes, output)
	})
	switch {
	case errors.Is(err, ErrRunning):
		return fail.New(fail.General, "see what is running: pulsectl status", "another pulsectl is working on a stack")
	case errors.Is(err, context.DeadlineExceeded):
		return fail.New(fail.Timeout, "see what remains: docker ps --filter label=com.docker.compose.project="+s.Project,
			"waited %s for the containers to stop", clip.Duration(o.Timeout))
	}
	return fail.Wrap("cannot stop the containers", err)
}

func (composeDriver) Containers(ctx context.Context, s State) ([]compose.Container, error) {
	list, err := s.containers(ctx)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("project %s has no containers: pulsectl up --stack compose creates them again", s.Project)
	}
	return list, err
}

func (composeDriver) Control(s State) (control.Client, error) {
	return control.Client{}, errNotEmbedded(s)
}

// Change stops or starts a container, and checks the result: it may have been
// restarted at once.
func (composeDriver) Change(ctx context.Context, s State, c Change, o ChangeOptions) (string, error) {
	container, err := s.containerOf(ctx, c.Server.service())
	if err != nil {
		return "", err
	}
	command := [...]func(compose.Container) []string{
		Stop: compose.Container.StopCommand, Start: compose.Container.StartCommand, Restart: compose.Container.RestartCommand,
	}[c.Action](container)
	run := func(io.Writer) error { return compose.Control(ctx, command) }
	if err := o.Console.Wait(ctx, c.waitedFor, run); err != nil {
		return "", late(fail.Wrap("cannot "+c.Action.String()+" the "+c.Server.String(), err), container)
	}
	if c.Action == Stop {
		err = mustBeDown(ctx, s, c.Server)
	} else {
		err = awaitServices(ctx, s, o.Console, c.Server.service())
	}
	return strings.Join(command, " "), err
}

func (composeDriver) Restart() []Change { return []Change{{Broker, Restart}} }

// mustBeDown checks that the container stayed down.
func mustBeDown(ctx context.Context, s State, down Server) error {
	container, err := s.containerOf(ctx, down.service())
	if err == nil && container.Status != "exited" {
		return fail.New(fail.General, "see what has started it again: docker events --since 1m", "the %s is %s", down, container.Condition())
	}
	return err
}

// Faults lists the stopped containers.
func (composeDriver) Faults(ctx context.Context, s State) ([]control.Fault, error) {
	down, err := s.stoppedContainers(ctx)
	if err != nil {
		return nil, err
	}
	var faults []control.Fault
	for _, c := range down {
		faults = append(faults, control.Fault{Kind: devbroker.FaultKind(faultName(c)), Since: c.FinishedAt})
	}
	return faults, nil
}

// faultName returns the command that causes the fault, if there is one.
func faultName(c compose.Container) string {
	for _, s := range servers {
		if s.service() == c.Service {
			return Change{s, Stop}.Name()
		}
	}
	return c.Service + "-down"
}

// Mend starts the stopped containers, one after the other.
func (composeDriver) Mend(ctx context.Context, s State, out *console.IO) error {
	ctx, cancel := context.WithTimeout(ctx, ChangeLimit)
	defer cancel()
	down, err := s.stoppedContainers(ctx)
	if err != nil {
		return err
	}
	for _, c := range down {
		what := func() string { return "container " + c.Name + " to start" }
		start := func(io.Writer) error { return compose.Control(ctx, c.StartCommand()) }
		if err := out.Wait(ctx, what, start); err != nil {
			return late(fail.Wrap("cannot clear all faults", err), c)
		}
		if err := awaitServices(ctx, s, out, c.Service); err != nil {
			return err
		}
	}
	return nil
}
