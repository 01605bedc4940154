package stacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/env"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/overview"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// component is one component of a stack and its state.
type component struct {
	name, state, detail string
}

const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateDown     = "down"
	stateNotGiven = "not given"
)

var componentColumns = []console.Column[component]{
	{Key: "component", Value: func(c component) any { return c.name }, ID: true},
	{Key: "state", Value: func(c component) any { return c.state }, Tone: func(c component) console.Tone {
		switch c.state {
		case stateOK:
			return console.Good
		case stateDegraded:
			return console.Warn
		case stateDown:
			return console.Bad
		}
		return console.Dim
	}},
	{Key: "detail", Value: func(c component) any { return c.detail }, Wrap: true},
}

// Status returns the command status.
func Status(e *env.Env) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show the state of each component; exit 5 if one is down",
		Flags:  env.WatchFlags(),
		Action: func(ctx *cli.Context) error { return e.Watch(ctx, status) },
	}
}

func status(ctx context.Context, e *env.Env) error {
	parts := components(ctx, e)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := console.RenderList(e.IO, console.List[component]{Columns: componentColumns, Items: parts}); err != nil {
		return err
	}
	var down []string
	for _, p := range parts {
		if p.state == stateDown {
			down = append(down, p.name)
		}
	}
	if len(down) > 0 {
		return fail.New(fail.Unreachable, "", "down: %s", strings.Join(down, ", "))
	}
	return nil
}

// components looks at every component.
func components(ctx context.Context, e *env.Env) []component {
	parts := []component{stackPart(e)}
	parts = append(parts, within(ctx, e, ordersPart), within(ctx, e, notificationsPart))
	parts = append(parts, within(ctx, e, outboxPart), within(ctx, e, inboxPart), within(ctx, e, brokerPart))
	return append(parts, within(ctx, e, containerParts)...)
}

// within calls look with a deadline: a server that does not answer is down, and
// does not hide the others.
func within[T any](ctx context.Context, e *env.Env, look func(context.Context, *env.Env) T) T {
	ctx, cancel := context.WithTimeout(ctx, env.LookLimit)
	defer cancel()
	return look(ctx, e)
}

func stackPart(e *env.Env) component {
	s, err := e.Running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return component{"stack", stateNotGiven, "none was started here with pulsectl up"}
	case err != nil:
		return component{"stack", stateDown, err.Error()}
	}
	c := component{"stack", stateOK, s.Driver().Describe(s).Status}
	if urls := s.MetricsURLs(); len(urls) > 0 {
		c.detail += ", metrics at " + strings.Join(urls, " and ")
	}
	return c
}

// part returns the component for the result of a check. A missing setting is
// not an outage.
func part(name, detail string, err error) component {
	if err == nil {
		return component{name, stateOK, detail}
	}
	if f := fail.From(err); f.Kind == fail.Usage {
		return component{name, stateNotGiven, f.Message}
	}
	return component{name, stateDown, err.Error()}
}

func ordersPart(ctx context.Context, e *env.Env) component {
	return servicePart(ctx, e, "orders", e.GivenOrdersURL)
}

func notificationsPart(ctx context.Context, e *env.Env) component {
	return servicePart(ctx, e, "notifications", e.GivenNotificationsURL)
}

func servicePart(ctx context.Context, e *env.Env, name string, baseURL func() (string, bool, error)) component {
	base, given, err := baseURL()
	if err != nil {
		return part(name, "", err)
	}
	if !given {
		return component{name, stateNotGiven, "no " + name + " service given"}
	}
	a, err := e.API(name+" service", base)
	if err != nil {
		return part(name, "", err)
	}
	var health map[string]json.RawMessage
	if err := a.Call(ctx, http.MethodGet, "/health/ready", nil, nil, &health); err != nil {
		return part(name, "", err)
	}
	c := component{name, stateOK, base}
	for _, role := range []string{"relay", "consumer"} {
		var worker struct {
			State     string `json:"state"`
			LastError string `json:"lastError"`
		}
		if json.Unmarshal(health[role], &worker) != nil || worker.State == "" {
			continue
		}
		c.detail += fmt.Sprintf(", %s %s", role, worker.State)
		if worker.State == stateDegraded {
			c.state = stateDegraded
			c.detail += ": " + worker.LastError
		}
	}
	return c
}

// judged returns a component that is degraded if there are reasons, which then
// come first.
func judged(name, detail string, reasons []string) component {
	if len(reasons) == 0 {
		return component{name, stateOK, detail}
	}
	return component{name, stateDegraded, strings.Join(append(reasons, detail), "; ")}
}

func outboxPart(ctx context.Context, e *env.Env) component {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return part("outbox", "", err)
	}
	seen, err := overview.ReadOutbox(ctx, ob)
	if err != nil {
		return part("outbox", "", err)
	}
	return judged("outbox", seen.Detail(), seen.Reasons())
}

func inboxPart(ctx context.Context, e *env.Env) component {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return part("inbox", "", err)
	}
	seen, err := overview.ReadInbox(ctx, in)
	if err != nil {
		return part("inbox", "", err)
	}
	return judged("inbox", seen.Detail(), seen.Reasons())
}

func brokerPart(ctx context.Context, e *env.Env) component {
	q, err := e.ConsumerQueues(ctx)
	if err != nil {
		return part("broker", "", err)
	}
	seen, err := overview.ReadQueues(ctx, q)
	if err != nil {
		return part("broker", "", err)
	}
	return judged("broker", seen.Detail(), seen.Reasons())
}

// containerParts returns the containers of a compose stack; other stacks have
// none.
func containerParts(ctx context.Context, e *env.Env) []component {
	s, err := e.Running()
	if err != nil {
		return nil
	}
	list, err := s.Driver().Containers(ctx, s)
	if err != nil {
		return []component{{"containers", stateDown, err.Error()}}
	}
	var parts []component
	for _, c := range list {
		state := stateDown
		switch {
		case c.Healthy():
			state = stateOK
		case c.Condition() == "starting", c.Status == "paused":
			state = stateDegraded
		}
		parts = append(parts, component{c.Service, state, fmt.Sprintf("%s, container %s, image %s", c.Condition(), c.Name, c.Image)})
	}
	return parts
}
