package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/asimalizada/pulse-events/pulsectl/internal/console"
	"github.com/asimalizada/pulse-events/pulsectl/internal/fail"
	"github.com/asimalizada/pulse-events/pulsectl/internal/stack"
)

// component is one part of a stack and how it is.
type component struct {
	name, state, detail string
}

const (
	stateOK       = "ok"
	stateDegraded = "degraded"
	stateDown     = "down"
	stateUnknown  = "not given"
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

func statusCommand(env *Env) *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show each part of the stack; exit 5 if one is down",
		Action: func(ctx *cli.Context) error { return env.status(ctx.Context) },
	}
}

func (e *Env) status(ctx context.Context) error {
	parts := []component{e.stackPart()}
	parts = append(parts, e.servicePart(ctx, "orders", e.ordersURL), e.servicePart(ctx, "notifications", e.notificationsURL))
	parts = append(parts, e.outboxPart(ctx), e.inboxPart(ctx), e.brokerPart(ctx))
	parts = append(parts, e.containerParts(ctx)...)
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

func (e *Env) stackPart() component {
	s, err := e.running()
	switch {
	case errors.Is(err, stack.ErrNotRunning):
		return component{"stack", stateUnknown, "none was started here with pulsectl up"}
	case err != nil:
		return component{"stack", stateDown, err.Error()}
	}
	if s.Stack == stack.Compose {
		return component{"stack", stateOK, fmt.Sprintf("compose, profile %s, up since %s, project %s", s.Profiles, s.StartedAt.Local().Format(time.DateTime), s.Project)}
	}
	return component{"stack", stateOK, fmt.Sprintf("%s, process %d, up since %s", s.Stack, s.PID, s.StartedAt.Local().Format(time.DateTime))}
}

// part makes a component of what a check found. A setting that nobody gave is
// not an outage.
func part(name, detail string, err error) component {
	if err == nil {
		return component{name, stateOK, detail}
	}
	if f := fail.From(err); f.Kind == fail.Usage {
		return component{name, stateUnknown, f.Message}
	}
	return component{name, stateDown, err.Error()}
}

func (e *Env) servicePart(ctx context.Context, name string, baseURL func() (string, error)) component {
	base, err := baseURL()
	if err != nil {
		return part(name, "", err)
	}
	a, err := newAPI(name+" service", base)
	if err != nil {
		return part(name, "", err)
	}
	var health map[string]json.RawMessage
	if err := a.call(ctx, http.MethodGet, "/health/ready", nil, nil, &health); err != nil {
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

func (e *Env) outboxPart(ctx context.Context) component {
	ob, _, err := e.Outbox(ctx)
	if err != nil {
		return part("outbox", "", err)
	}
	s, err := ob.Stats(ctx)
	if err != nil {
		return part("outbox", "", fail.Wrap("cannot count the outbox", err))
	}
	detail := fmt.Sprintf("%s pending, %s dead, %s published", counted(s.Pending.N, s.Pending.Exact), counted(s.Dead.N, s.Dead.Exact), counted(s.Published.N, s.Published.Exact))
	if !s.OldestPending.IsZero() {
		detail += fmt.Sprintf(", the oldest waits for %s", s.OldestPendingAge.Round(100_000_000))
	}
	return component{"outbox", stateOK, detail}
}

func (e *Env) inboxPart(ctx context.Context) component {
	in, _, err := e.Inbox(ctx)
	if err != nil {
		return part("inbox", "", err)
	}
	s, err := in.Stats(ctx)
	if err != nil {
		return part("inbox", "", fail.Wrap("cannot count the inbox", err))
	}
	return component{"inbox", stateOK, counted(s.Applied.N, s.Applied.Exact) + " applied by " + in.Consumer()}
}

func (e *Env) brokerPart(ctx context.Context) component {
	q, err := e.queues()
	if err != nil {
		return part("broker", "", err)
	}
	d, err := q.Depths(ctx)
	if err != nil {
		return part("broker", "", err)
	}
	detail := fmt.Sprintf("%d ready, %d waiting for a retry, %d dead-lettered, %d consumers", d.Ready, d.Retrying, d.DeadLettered, d.Consumers)
	if len(d.Missing) > 0 {
		detail += "; missing: " + strings.Join(d.Missing, ", ")
	}
	return component{"broker", stateOK, detail}
}

// containerParts are the containers of a compose stack; other stacks have none.
func (e *Env) containerParts(ctx context.Context) []component {
	s, err := e.running()
	if err != nil || s.Stack != stack.Compose {
		return nil
	}
	list, err := s.Containers(ctx)
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("project %s has none: pulsectl up --stack compose makes them again", s.Project)
	}
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
