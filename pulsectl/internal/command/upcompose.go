package command

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/compose"
	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

func profileFlag() cli.Flag {
	return &cli.StringFlag{Name: "profile", Usage: "compose: `NAME` of the services' profile: stdlib, gin (env COMPOSE_PROFILES, also in .env; default: stdlib)"}
}

func composeFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "compose-file", Usage: "compose: `FILE` (env PULSE_COMPOSE_FILE; default: the nearest " + compose.FileName + ", here or above)"}
}

// composeProject is the project that flags, environment and .env name.
func (e *Env) composeProject(file, profile string) (compose.Project, compose.Settings, error) {
	here, err := os.Getwd()
	if err != nil {
		return compose.Project{}, compose.Settings{}, fail.Wrap("cannot look for the compose file", err)
	}
	file, err = compose.FindFile(cmp.Or(file, e.getenv("PULSE_COMPOSE_FILE")), here)
	if err != nil {
		return compose.Project{}, compose.Settings{}, err
	}
	settings, err := compose.ReadSettings(file, e.getenv)
	if err != nil {
		return compose.Project{}, settings, fail.Wrap("cannot start", err)
	}
	return compose.Project{
		File: file, Name: compose.ProjectName(file, settings),
		Profiles: cmp.Or(profile, settings.Get("COMPOSE_PROFILES"), stack.DefaultProfile),
	}, settings, nil
}

func (e *Env) upCompose(ctx context.Context, dir string, o upOptions) error {
	project, settings, err := e.composeProject(o.composeFile, o.profile)
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
	timeout := cmp.Or(o.timeout, composeTimeout)
	e.IO.Notef("%s up, project %s, profile %s", client, project.Name, project.Profiles)
	s, err := stack.UpCompose(ctx, stack.ComposeConfig{
		Dir: dir, Client: client, Project: project, Settings: settings, Healthy: timeout, Wait: e.IO.Wait,
		Changed: func(c compose.Container) {
			if !e.IO.ErrTTY { // there the progress shows it
				e.IO.Notef("%s: %s", c.Service, c.Condition())
			}
		},
	})
	switch taken := new(stack.PortTakenError); {
	case err == nil:
		if e.IO.Structured() {
			return console.RenderOne(e.IO, composeStateColumns, s.Redacted())
		}
		e.announce(s)
		return nil
	case errors.Is(err, stack.ErrRunning):
		return errRunning(stack.Load(dir))
	case errors.As(err, &taken):
		hint := "stop it and try again"
		if taken.Variable != "" {
			hint = "stop it, or choose another port: " + taken.Variable + "=PORT pulsectl up --stack compose"
		}
		return fail.New(fail.General, hint, "%v", taken)
	case ctx.Err() != nil:
		return &fail.Error{Kind: fail.Interrupted, Message: "interrupted; some containers may be running", Hint: "end them with: pulsectl down --stack compose"}
	}
	failed := fail.From(notHealthy(err, "waited "+short(timeout)+" for the containers"))
	if failed.Hint == "" {
		failed.Hint = "what Compose said is above; end what runs with: pulsectl down --stack compose"
	}
	return failed
}

// orElse adds another way out to the hint of an error.
func orElse(err error, way string) error {
	f := *fail.From(err)
	if f.Hint != "" {
		f.Hint += "; or " + way
	}
	return &f
}

// composeStateColumns has another id: containers have no process of ours.
var composeStateColumns = func() []console.Column[stack.State] {
	columns := slices.Clone(stateColumns)
	for i := range columns {
		columns[i].ID = columns[i].Key == "project"
	}
	return columns
}()

// checkProfiles refuses names that the compose file does not know: Compose
// itself would silently start nothing for them.
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

// notHealthy says which container is to blame, what it wrote last, and how to
// see more; late is what to say when nothing but time is.
func notHealthy(err error, late string) error {
	kind := fail.General
	if errors.Is(err, context.DeadlineExceeded) {
		kind = fail.Timeout
	}
	if blamed, ok := errors.AsType[*stack.UnhealthyError](err); ok {
		f := &fail.Error{Kind: kind, Message: blamed.Error(), Hint: "see more: docker logs " + blamed.Container.Name}
		if blamed.Logs != "" {
			text := "its last words are"
			for line := range strings.Lines(blamed.Logs) {
				text += "\n" + inWords(line)
			}
			f.Cause = errors.New(text)
		}
		return f
	}
	if kind == fail.Timeout {
		return fail.New(kind, "look at: docker ps --all", "%s", late)
	}
	return fail.Wrap("the containers do not run", err)
}
